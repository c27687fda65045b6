# Sourced by the scripts at the top: brings uv along where it is missing, and the project's environment up
# to date with uv.lock. Sets HOUSE (the checkout) and PATH, so that the caller's commands run in it.
#
# uv comes in a venv of its own, since Debian's pip refuses to install into the system. The Python is always
# the machine's own: nothing but packages is downloaded.
HOUSE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# A hospital's proxy may show a certificate that only the system's own store knows.
export UV_SYSTEM_CERTS=true
export UV_PYTHON_DOWNLOADS=never UV_PYTHON_PREFERENCE=only-system
export UV_PROJECT_ENVIRONMENT="$HOUSE/.venv" VIRTUAL_ENV="$HOUSE/.venv"

say() { printf '%s\n' "$*" >&2 || true; }

find_uv() {
    if command -v uv >/dev/null 2>&1; then
        UV=uv
        return
    fi
    UV="$HOUSE/.uv/bin/uv"
    [ -x "$UV" ] && return
    command -v python3 >/dev/null 2>&1 || { say "slidehook needs python3 (3.11 or newer): apt-get install python3 python3-venv"; exit 1; }
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
        || { say "slidehook needs Python 3.11 or newer; python3 here is $(python3 -V 2>&1)"; exit 1; }
    say "installing uv into .uv (once)"
    python3 -m venv "$HOUSE/.uv" \
        || { rm -rf "$HOUSE/.uv"; say "python3's venv module is missing: apt-get install python3-venv"; exit 1; }
    "$HOUSE/.uv/bin/pip" install --quiet --disable-pip-version-check uv || { rm -rf "$HOUSE/.uv"; exit 1; }
}

# install_environment [uv sync's options]: make .venv match uv.lock. Where it does, nothing is written anywhere, and
# neither uv nor a home is needed. A user who may not write here starts what is installed.
install_environment() {
    # One file for each set of options that .venv was made to match, named after what it was made from.
    local lock stamp options
    lock=$(cat "$HOUSE/uv.lock" "$HOUSE/pyproject.toml" | sha256sum | cut -c1-16)
    options=$(printf '%s ' "$@" | tr -c 'a-z0-9\n' '_')
    stamp="$HOUSE/.venv/.matches-$lock-$options"
    export PATH="$HOUSE/.venv/bin:$PATH"
    is_installed "$stamp" && return
    if ! may_write; then
        [ -x "$HOUSE/.venv/bin/python" ] && return
        say "slidehook is not installed in $HOUSE, and this user may not write there: run this script once as its owner"
        exit 78
    fi
    # Without a home, uv would have no place for its cache.
    [ -w "${XDG_CACHE_HOME:-${HOME:-/nonexistent}}" ] || export UV_NO_CACHE=true
    find_uv
    [ -d "$HOUSE/.venv" ] || say "installing slidehook's packages into .venv (once; a minute or so)"
    (
        # Two scripts that start at once must not install over each other.
        flock 9
        is_installed "$stamp" && exit
        for each in "$HOUSE"/.venv/.matches-*; do
            [ "${each#"$HOUSE/.venv/.matches-$lock-"}" != "$each" ] || rm -f "$each"
        done
        "$UV" sync --project "$HOUSE" --frozen --quiet --inexact "$@"
        touch "$stamp"
    ) 9>"$HOUSE/.venv.lock"
}

# is_installed STAMP: nothing was installed or removed since .venv was made to match.
is_installed() {
    [ -e "$1" ] || return 1
    local packages
    for packages in "$HOUSE"/.venv/lib/python*/site-packages; do
        [ -d "$packages" ] && [ ! "$packages" -nt "$1" ] || return 1
    done
}

may_write() {
    [ -w "$HOUSE" ] && { [ ! -e "$HOUSE/.venv" ] || [ -w "$HOUSE/.venv" ]; } \
        && { [ ! -e "$HOUSE/.venv.lock" ] || [ -w "$HOUSE/.venv.lock" ]; }
}
