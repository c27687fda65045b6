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

# install_environment [uv sync's options]: make .venv match uv.lock.
# The lock keeps two scripts that start at once from installing over each other.
install_environment() {
    find_uv
    [ -d "$HOUSE/.venv" ] || say "installing slidehook's packages into .venv (once; a minute or so)"
    (
        flock 9
        "$UV" sync --project "$HOUSE" --frozen --quiet --inexact "$@"
    ) 9>"$HOUSE/.venv.lock"
    export PATH="$HOUSE/.venv/bin:$PATH"
}
