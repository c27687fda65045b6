#!/usr/bin/env bash
# Installs an app's package beside slidehook, so that its webserver, workers and commands find it:
#     deploy/install_app.sh FOLDER-OR-PACKAGE
# What stands behind the command goes to `uv pip install`: -e FOLDER follows changes to the app's code.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/env.sh"
[ $# -gt 0 ] || { say "usage: install_app.sh [-e] FOLDER-OR-PACKAGE"; exit 2; }
[ -d "$HOUSE/.venv" ] || install_environment --no-default-groups
find_uv
flock "$HOUSE/.venv.lock" "$UV" pip install --python "$HOUSE/.venv/bin/python" "$@"
