#!/usr/bin/env bash
# Installs an app's package beside slidehook, so that its webserver, workers and commands find it:
#     deploy/install_app.sh FOLDER-OR-PACKAGE
# All arguments go to `uv pip install`: -e FOLDER follows changes to the app's code.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"

# Exits if a package named by the arguments ships a module with the name of one of this checkout's: Python would
# import one of the two in place of the other. The package is built and unpacked in a scratch folder to see its files.
refuse_overlaps() {
    local changes each files scratch plain=()
    # A package that is installed already is not fetched again. What can't be found is reported by the installation.
    changes=$("$UV" pip install --dry-run --python "$HOUSE/.venv/bin/python" "$@" 2>&1) || return 0
    [[ $changes == *$'\n + '* ]] || return 0
    for each in "$@"; do
        case $each in
            -e | --editable) ;;
            *) plain+=("${each#--editable=}") ;;
        esac
    done
    scratch=$(mktemp -d)
    trap "rm -rf '$scratch'" EXIT
    "$UV" pip install --quiet --no-deps --python "$HOUSE/.venv/bin/python" --target "$scratch" "${plain[@]}"
    for each in "$HOUSE"/*/__init__.py; do
        [ -e "$each" ] || continue
        each=$(basename "$(dirname "$each")")
        files=$(compgen -G "$scratch/$each" || compgen -G "$scratch/$each.*" || true)
        [ -z "$files" ] && continue
        say "nothing was installed: the package has a module '$each', and so has slidehook; rename the package's module"
        exit 1
    done
}

[ $# -gt 0 ] || { say "usage: install_app.sh [-e] FOLDER-OR-PACKAGE"; exit 2; }
[ -d "$HOUSE/.venv" ] || install_environment --no-default-groups
find_uv
refuse_overlaps "$@"
flock "$HOUSE/.venv.lock" "$UV" pip install --python "$HOUSE/.venv/bin/python" "$@"
