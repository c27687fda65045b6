"""Proves, before gunicorn starts, that the webserver's address can be had."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Sequence

from slidehook.errors import SettingsInvalid
from slidehook.settings import Settings

PATIENCE_S = 3.0
"""How long a taken port is tried, in seconds: the webserver that this one replaces may be about to end."""
LOOK_S = 0.1
_SOCKETS_GIVEN = ("GUNICORN_FD", "LISTEN_FDS")


def check_address(settings: Settings, arguments: Sequence[str]) -> None:
    """Raise SettingsInvalid, with one sentence, if nobody can listen at the settings' host and port.

    Nothing is tried where gunicorn's `arguments` name another address, or its sockets are there already.
    """
    if any(each.startswith(("--bind", "-b")) for each in arguments) or any(
        each in os.environ for each in _SOCKETS_GIVEN
    ):
        return
    until = time.monotonic() + PATIENCE_S
    while (error := _refusal(settings.host, settings.port)) is not None:
        if error.errno != errno.EADDRINUSE:
            raise SettingsInvalid(_sentence(settings, error)) from error
        if time.monotonic() > until:
            raise SettingsInvalid(_sentence(settings, error)) from error
        time.sleep(LOOK_S)


def _refusal(host: str, port: int) -> OSError | None:
    try:
        with socket.socket(socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gunicorn does
            probe.bind((host, port))
            probe.listen(1)
    except OSError as error:
        return error
    return None


def _sentence(settings: Settings, error: OSError) -> str:
    host, port = settings.host, settings.port
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"SLIDEHOOK_HOST: {host!r} is no address of this host, for example SLIDEHOOK_HOST=0.0.0.0."
    if error.errno == errno.EADDRINUSE:
        why = "is taken by another program"
    elif error.errno == errno.EACCES:
        why = "may not be used by this user"
    else:
        why = f"can't be used on {host} ({error.strerror})"
    another = 5006 if port != 5006 else 5007
    return f"SLIDEHOOK_PORT: {port} {why}; choose another one, for example SLIDEHOOK_PORT={another}."
