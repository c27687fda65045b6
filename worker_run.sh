#!/usr/bin/env bash
# One worker, until Ctrl-C or SIGTERM; --help tells its options. Start more for more capacity, on any host that sees
# the queue directory. Its settings: as flask_run.sh's.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/deploy/env.sh"
install_environment --no-default-groups
cd "$HOUSE"
exec python -m worker "$@"
