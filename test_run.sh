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
apart=(--ignore tests/cifs)
say "tests/cifs is skipped: it needs root and a CIFS lab, and is run by itself (tests/cifs/conftest.py)"
if [ -z "${SLIDEHOOK_REAL_SLIDES:-}" ]; then
    apart+=(--ignore tests/real)
    say "tests/real is skipped: SLIDEHOOK_REAL_SLIDES names no folder of real slides"
fi
say "pytest"
# A file's tests share what they start, so a file is not split. In their own order, the files that take longest begin early.
exec pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder "${apart[@]}"
