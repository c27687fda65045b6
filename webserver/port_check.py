"""Checks before gunicorn starts that the webserver can listen at its address."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Sequence

from slidehook.errors import SettingsInvalid
from slidehook.settings import Settings

RETRY_FOR_S = 3.0
"""How long to retry a taken port, in seconds: the previous webserver may be about to exit."""
RETRY_INTERVAL_S = 0.1
_INHERITED_SOCKETS = ("GUNICORN_FD", "LISTEN_FDS")


def check_address(settings: Settings, arguments: Sequence[str]) -> None:
    """Raise SettingsInvalid, with one sentence, if the settings' host and port can't be listened on.

    Nothing is checked when gunicorn's `arguments` set another address, or when it inherits its sockets.
    """
    if any(each.startswith(("--bind", "-b")) for each in arguments) or any(
        each in os.environ for each in _INHERITED_SOCKETS
    ):
        return
    deadline = time.monotonic() + RETRY_FOR_S
    while (error := _try_to_listen(settings.host, settings.port)) is not None:
        if error.errno != errno.EADDRINUSE:
            raise SettingsInvalid(_message(settings, error)) from error
        if time.monotonic() > deadline:
            raise SettingsInvalid(_message(settings, error)) from error
        time.sleep(RETRY_INTERVAL_S)


def _try_to_listen(host: str, port: int) -> OSError | None:
    try:
        with socket.socket(socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gunicorn does
            probe.bind((host, port))
            probe.listen(1)
    except OSError as error:
        return error
    return None


def _message(settings: Settings, error: OSError) -> str:
    host, port = settings.host, settings.port
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        hint = "choose another one, for example SLIDEHOOK_HOST=0.0.0.0"
        return f"SLIDEHOOK_HOST: {host!r} is not an address of this host; {hint}."
    if error.errno == errno.EADDRINUSE:
        why = "is in use by another program"
    elif error.errno == errno.EACCES:
        why = "may not be used by this user"
    else:
        why = f"can't be used on {host} ({error.strerror})"
    another = 5006 if port != 5006 else 5007
    return f"SLIDEHOOK_PORT: {port} {why}; choose another one, for example SLIDEHOOK_PORT={another}."
