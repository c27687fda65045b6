#!/usr/bin/env bash
# Installs everything and runs every check: ruff, mypy, pytest. What stands behind the command goes to pytest, as in
#     ./test_run.sh -k queue -x
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/deploy/env.sh"
install_environment --all-extras --group dev
cd "$HOUSE"
say "ruff";   ruff check . && ruff format --check .
say "mypy";   mypy
say "pytest"; exec pytest --numprocesses 4 --dist loadfile "$@"
