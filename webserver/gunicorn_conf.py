"""gunicorn's settings, derived from slidehook's; flask_run.sh passes this file to gunicorn."""

from __future__ import annotations

import signal
import sys

from slidehook.errors import SlidehookError
from slidehook.jobs.factory import open_queue
from slidehook.running.environment import take_from_environment
from slidehook.settings import read_settings
from slidehook.startup import cant_start
from slidehook.streams import protect_output
from webserver.port_check import check_address

protect_output()  # before gunicorn attaches its loggers to sys.stderr and sys.stdout
try:
    _settings = read_settings()
    open_queue(_settings, "web").check()  # here an error is one sentence; in a worker it would be a traceback
    check_address(_settings, sys.argv[1:])
except SlidehookError as error:
    cant_start(error)

bind = f"{_settings.host}:{_settings.port}"
workers = _settings.web_processes
threads = _settings.web_threads
worker_class = "webserver.slow_clients.BufferingWorker"  # based on gthread: requests wait for DPAT
worker_connections = threads + 512
keepalive = 15
# gunicorn trusts these headers from loopback; slidehook trusts only TRUSTED_PROXIES (webserver/application.py).
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""
graceful_timeout = 30
# Otherwise gunicorn's heartbeat files would be on a disk that may be slow or full.
worker_tmp_dir = "/dev/shm"  # noqa: S108 - gunicorn's own unnamed files
# Its path is the same for every gunicorn of a user, and nothing here needs it.
control_socket_disable = True


def post_worker_init(_: object) -> None:
    """Let a web process ignore the closing of its terminal; the master replaces it gracefully.

    The process has read its settings, so they are removed from the environment that the apps' processes inherit.
    """
    take_from_environment()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
