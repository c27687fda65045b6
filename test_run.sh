#!/usr/bin/env bash
# Installs everything and runs every check: ruff, mypy, pytest. What stands behind the command goes to pytest, as in
#     ./test_run.sh tests/jobs -k alias -x
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/deploy/env.sh"
install_environment --all-extras --group dev
cd "$HOUSE"
say "ruff"; ruff check . && ruff format --check .
say "mypy"; mypy
if [ $# -gt 0 ]; then
    say "pytest $*"
    exec pytest "$@"
fi
# By themselves: two more kernels need both cores. Skipped, with a line that says so, where CIFSLAB names no lab.
say "pytest tests/cifs"
pytest -rs tests/cifs
say "pytest"
exec pytest --numprocesses 4 --dist loadfile --ignore tests/cifs
