#!/usr/bin/env bash
# The webserver under gunicorn, until Ctrl-C or SIGTERM. Its settings: SLIDEHOOK_… in the environment, or in .env
# here (README.md lists them). Relative paths count from this folder.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/deploy/env.sh"
install_environment --no-default-groups
cd "$HOUSE"
exec gunicorn --config python:webserver.gunicorn_conf "$@" 'webserver:create_app()'
