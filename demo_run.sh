#!/usr/bin/env bash
# Installs everything and shows the main job: a simulated DPAT, the webserver, a worker, and a real slide. --help tells
# its options.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/deploy/env.sh"
install_environment --no-default-groups --extra simulator
cd "$HOUSE"
exec python -m slidehook.demo "$@"
