"""Remembers that a server takes updates by PUT only: in a small file, for all processes of a host.

The file only saves calls. Where it can't be read or written, each process finds out for itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from slidehook.private import private_folder

FILE_NAME = "put-servers.json"
KNOWN_S = 24 * 3600.0
"""For how long a server is known to take PUT only, in seconds; then PATCH is tried again."""
DOUBT_S = 600.0
"""For how long a process uses PUT after a PATCH that was not answered, in seconds."""
MOST_SERVERS = 32
MOST_BYTES = 64 * 1024
"""How many bytes of the file are read: one of ours is far smaller."""
MOST_TRIES_S = 60.0
"""How long a process waits before it tries again to write a file that it could not write, in seconds."""

log = structlog.get_logger()


class PutServer:
    """What is known of how one server takes updates. Safe for several threads; no method raises OSError.

    The file lies in `folder`, which is made when it is missing. `clock` gives seconds since 1970.
    """

    def __init__(self, url: str, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._url = url
        self._path = folder / FILE_NAME
        self._clock = clock
        self._lock = threading.Lock()
        self._until = 0.0
        """Until when this process uses PUT, whatever the file says."""
        self._next_try = 0.0

    def is_known(self) -> bool:
        """Say whether an update is to go by PUT."""
        now = self._clock()
        if now < self._until <= now + KNOWN_S:
            return True
        return self._url in _read(self._path, now)

    def suspect(self) -> None:
        """Use PUT in this process for a while: a PATCH was not answered, or did not do what PUT does."""
        self._until = max(self._until, self._clock() + DOUBT_S)

    def remember(self) -> None:
        """Know for `KNOWN_S` that the server takes PUT, but not PATCH."""
        now = self._clock()
        self._until = now + KNOWN_S
        self._write(now, lambda known: known | {self._url: now})

    def forget(self) -> None:
        """Know nothing of the server any more."""
        self._until = 0.0
        now = self._clock()
        if self._url in _read(self._path, now):
            self._write(now, lambda known: {url: since for url, since in known.items() if url != self._url})

    def _write(self, now: float, change: Callable[[dict[str, float]], dict[str, float]]) -> None:
        with self._lock:
            if now < self._next_try <= now + MOST_TRIES_S:
                return
            known = change(_read(self._path, now))
            newest = dict(sorted(known.items(), key=lambda each: each[1])[-MOST_SERVERS:])
            try:
                _replace(self._path, json.dumps(newest).encode())
            except OSError as error:
                self._next_try = now + MOST_TRIES_S
                log.warning("how DPAT takes updates can't be noted", file=str(self._path), reason=error.strerror)


def _read(path: Path, now: float) -> dict[str, float]:
    """Give since when each server is known to take PUT only; what is too old, or can't be read, is left out."""
    try:
        # Not blocking: it may be a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            content = os.read(descriptor, MOST_BYTES)
        finally:
            os.close(descriptor)
        found = json.loads(content)
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        url: float(since)
        for url, since in found.items()
        if isinstance(since, int | float) and now - KNOWN_S < since <= now
    }


def _replace(path: Path, content: bytes) -> None:
    """Write a file aside, mode 0600, and put it in place."""
    private_folder(path.parent)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        aside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise
