"""Who works on the queue, and who no longer does: one lock and one heartbeat for each process that claims.

A claimer's lock file holds nothing; the kernel, or the file server, drops the lock when the process dies. On
another host a free lock alone proves nothing (a share may be mounted so that locks are local), so there the
heartbeat must have stood still as well. It beats by being renamed to the next number, since on a share a new
name is seen at once and new content under an old name may never be.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from slidehook.jobs.durable import PRIVATE_FILE

BEAT_S = 2.0
"""Seconds between two heartbeats."""
STILL_S = 10.0
"""Seconds that a heartbeat on another host must have stood still before its claimer counts as dead."""

_BEAT = re.compile(r"([a-z0-9-]{1,96})\.(\d{1,12})")


def boot_id() -> str:
    """Name the running kernel: two processes that see the same one share its locks."""
    text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    return text.replace("-", "").strip()[:12]


def new_claimer_id(role: str) -> str:
    """Give a name that no process ever bears again: role, host, kernel, process id, and chance."""
    host = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().lower()).strip("-")[:32] or "host"
    return f"{role}-{host}-{boot_id()}-{os.getpid()}-{secrets.token_hex(4)}"


class Claimer:
    """This process as a claimer: holds its lock and beats until `close`."""

    def __init__(self, root: Path, role: str, *, beat_s: float = BEAT_S) -> None:
        self.id = new_claimer_id(role)
        self._beats = root / "beats"
        self._lock = FileLock(root / "claimers" / f"{self.id}.lock", mode=PRIVATE_FILE, thread_local=False)
        self._lock.acquire(blocking=False)
        self._beat = self._beats / f"{self.id}.0"
        self._beat.touch(PRIVATE_FILE)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(beat_s,), name="heartbeat", daemon=True)
        self._thread.start()

    def _run(self, beat_s: float) -> None:
        number = 0
        while not self._stop.wait(beat_s):
            number += 1
            after = self._beats / f"{self.id}.{number}"
            try:
                self._beat.rename(after)
            except OSError:
                # The share is away, or someone removed the file: the next beat tries with a fresh one.
                self._try_touch(after)
            self._beat = after

    def _try_touch(self, path: Path) -> None:
        try:
            path.touch(PRIVATE_FILE)
        except OSError:
            return

    def close(self) -> None:
        """Stop beating and give the lock back; nothing is left of a claimer that goes in order."""
        self._stop.set()
        self._thread.join()
        self._beat.unlink(missing_ok=True)
        self._lock.release()
        Path(self._lock.lock_file).unlink(missing_ok=True)


class Obituaries:
    """Tells which other claimers are dead. One watcher for each process; time comes from `clock` (seconds)."""

    def __init__(self, root: Path, *, still_s: float = STILL_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._still_s = still_s
        self._clock = clock
        self._boot = boot_id()
        self._seen: dict[str, tuple[int, float]] = {}

    def dead(self, claimers: set[str]) -> set[str]:
        """Give those of `claimers` whose lock is free and, on other hosts, whose heartbeat stands still."""
        free = {each for each in claimers if self._lock_is_free(each)}
        near = {each for each in free if self._boot in each.split("-")}
        return near | self._still(free - near)

    def _lock_is_free(self, claimer: str) -> bool:
        lock = FileLock(self._root / "claimers" / f"{claimer}.lock", mode=PRIVATE_FILE, is_singleton=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        lock.release()
        return True

    def _still(self, claimers: set[str]) -> set[str]:
        if not claimers:
            self._seen.clear()
            return set()
        now, numbers = self._clock(), self._beats()
        still: set[str] = set()
        for claimer in claimers:
            number = numbers.get(claimer, -1)
            last, since = self._seen.get(claimer, (None, now))
            if number != last:
                self._seen[claimer] = (number, now)
            elif now - since >= self._still_s:
                still.add(claimer)
        return still

    def _beats(self) -> dict[str, int]:
        numbers: dict[str, int] = {}
        for name in os.listdir(self._root / "beats"):  # noqa: PTH208 - a listing is fresh on a share
            if match := _BEAT.fullmatch(name):
                numbers[match[1]] = max(int(match[2]), numbers.get(match[1], -1))
        return numbers
