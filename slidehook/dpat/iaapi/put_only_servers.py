"""Remembers which servers accept updates by PUT only, in a small file shared by all processes of a host.

The file only saves calls: if it can't be read or written, each process finds out for itself.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from slidehook.private import private_folder, replace_private

FILE_NAME = "put-servers.json"
VALID_S = 24 * 3600.0
"""How long an entry is valid, in seconds; then PATCH is tried again."""
AVOID_PATCH_S = 600.0
"""How long a process uses PUT after an unanswered PATCH, in seconds."""
MAX_SERVERS = 32
MAX_FILE_BYTES = 64 * 1024
"""The most that is read of the file; a valid one is far smaller."""
WRITE_RETRY_S = 60.0
"""How long a process waits after a failed write before it writes again, in seconds."""

log = structlog.get_logger()


class PutOnlyServer:
    """Whether one server accepts updates by PUT only. Thread-safe; no method raises OSError.

    The file is in `folder`, which is created if missing. `clock` returns seconds since 1970.
    """

    def __init__(self, url: str, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._url = url
        self._path = folder / FILE_NAME
        self._clock = clock
        self._lock = threading.Lock()
        self._put_until = 0.0
        """This process uses PUT until then, whatever the file says."""
        self._next_write = 0.0

    def is_put_only(self) -> bool:
        """Whether to send an update by PUT."""
        now = self._clock()
        if now < self._put_until <= now + VALID_S:
            return True
        return self._url in _read(self._path, now)

    def avoid_patch(self) -> None:
        """Use PUT in this process for a while, after a PATCH that got no answer or merged instead of replacing."""
        self._put_until = max(self._put_until, self._clock() + AVOID_PATCH_S)

    def remember(self) -> None:
        """Note for `VALID_S` that the server accepts PUT but not PATCH."""
        now = self._clock()
        self._put_until = now + VALID_S
        self._write(now, lambda known: known | {self._url: now})

    def forget(self) -> None:
        """Remove the server's entry."""
        self._put_until = 0.0
        now = self._clock()
        if self._url in _read(self._path, now):
            self._write(now, lambda known: {url: since for url, since in known.items() if url != self._url})

    def _write(self, now: float, change: Callable[[dict[str, float]], dict[str, float]]) -> None:
        with self._lock:
            if now < self._next_write <= now + WRITE_RETRY_S:
                return
            known = change(_read(self._path, now))
            newest = dict(sorted(known.items(), key=lambda each: each[1])[-MAX_SERVERS:])
            try:
                private_folder(self._path.parent)
                replace_private(self._path, json.dumps(newest).encode(), fsync=True)
            except OSError as error:
                self._next_write = now + WRITE_RETRY_S
                log.warning("cannot save that DPAT accepts PUT only", file=str(self._path), reason=error.strerror)


def _read(path: Path, now: float) -> dict[str, float]:
    """Return each server's time of entry; entries that are expired or unreadable are left out."""
    try:
        # O_NONBLOCK, because the path may be a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            content = os.read(descriptor, MAX_FILE_BYTES)
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
        if isinstance(since, int | float) and now - VALID_S < since <= now
    }
