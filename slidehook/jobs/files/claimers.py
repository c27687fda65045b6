"""The processes that claim jobs, each with a lock and a heartbeat, and which of them are dead.

A claimer's lock file is empty; the kernel, or the file server, releases the lock when the process dies. On another
host a free lock alone proves nothing (a share may be mounted so that locks are local), so there the heartbeat must
have stopped as well. It beats by being renamed to the next number, since on a share a new name is seen at once
and new content under an old name may never be.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from slidehook.jobs.files.durable import remove, rename
from slidehook.kernel import boot_id
from slidehook.private import PRIVATE_FILE

BEAT_S = 2.0
"""Seconds between two heartbeats."""
STILL_S = 10.0
"""Seconds without a heartbeat from another host before its claimer counts as dead."""

_CLAIMER = re.compile(r"[a-z]+-(?P<host>[a-z0-9-]+)-(?P<boot>[0-9a-f]{12})-(?P<pid>\d+)-[0-9a-f]{8}")
_BEAT = re.compile(r"([a-z0-9-]{1,96})\.(\d{1,12})")


def new_claimer_id(role: str) -> str:
    """Return a name that no other process ever has: role, host, kernel, process id, and random digits."""
    host = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().lower()).strip("-")[:32].strip("-") or "host"
    return f"{role}-{host}-{boot_id()}-{os.getpid()}-{secrets.token_hex(4)}"


def boot_of(claimer: str) -> str | None:
    """Return which running kernel a claimer works under, from its name; None when that is no claimer's."""
    match = _CLAIMER.fullmatch(claimer)
    return match["boot"] if match else None


def lock_at(root: Path, claimer: str) -> FileLock:
    """Return the lock of a claimer, not yet taken."""
    path = root / "claimers" / f"{claimer}.lock"
    return FileLock(path, mode=PRIVATE_FILE, thread_local=False, is_singleton=False)


def lock_is_free(root: Path, claimer: str) -> bool:
    """Return whether a claimer's lock is free. Raises OSError while a share is away."""
    lock = lock_at(root, claimer)
    if os.path.basename(lock.lock_file) not in os.listdir(root / "claimers"):
        return True  # the lock is not tried, since that would make the file, and the folders of a queue that is away
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    except IsADirectoryError:
        return True
    except PermissionError:  # another user's process: counts as alive
        return False
    lock.release()
    return True


def at_work(root: Path, role: str) -> list[str]:
    """List the claimers of a role whose lock is held: their processes run. Raises OSError while a share is away."""
    names = sorted(name.removesuffix(".lock") for name in os.listdir(root / "claimers") if name.endswith(".lock"))
    mine = [each for each in names if _CLAIMER.fullmatch(each) and each.startswith(f"{role}-")]
    return [each for each in mine if not lock_is_free(root, each)]


def rank(root: Path, claimer: str) -> tuple[int, int]:
    """Return the index and the number of the claimers of its role; recently died ones count."""
    role = claimer.partition("-")[0]
    names = sorted(name for name in os.listdir(root / "claimers") if name.startswith(f"{role}-"))
    mine = f"{claimer}.lock"
    return (names.index(mine), len(names)) if mine in names else (0, 1)


def read_beats(root: Path) -> dict[str, int]:
    """Read every claimer's heartbeat: its number grows while the process lives."""
    numbers: dict[str, int] = {}
    for name in os.listdir(root / "beats"):
        if match := _BEAT.fullmatch(name):
            numbers[match[1]] = max(int(match[2]), numbers.get(match[1], -1))
    return numbers


class Claimer:
    """This process as a claimer: it holds its lock, and its heart beats until `close`."""

    def __init__(
        self, root: Path, role: str, *, beat_s: float = BEAT_S, each_beat: Callable[[], None] = lambda: None
    ) -> None:
        self.id = new_claimer_id(role)
        self._beats = root / "beats"
        self._lock = lock_at(root, self.id)
        self._lock.acquire(blocking=False)
        self._beat = str(self._beats / f"{self.id}.0")
        Path(self._beat).touch(PRIVATE_FILE)
        self._stop = threading.Event()
        self._each_beat = each_beat
        self._thread = threading.Thread(target=self._run, args=(beat_s,), name="heartbeat", daemon=True)
        self._thread.start()

    def _run(self, beat_s: float) -> None:
        number = 0
        while not self._stop.wait(beat_s):
            self._each_beat()
            number += 1
            after = str(self._beats / f"{self.id}.{number}")
            try:
                rename(self._beat, after)
            except FileNotFoundError:
                try:
                    Path(after).touch(PRIVATE_FILE)
                except OSError:
                    continue
            except OSError:
                continue  # the share is away: the next beat tries again
            self._beat = after

    def close(self) -> None:
        """Stop the heartbeat, release the lock and remove both files."""
        self._stop.set()
        self._thread.join()
        with contextlib.suppress(OSError):  # the share is away, or took the lock back while it was
            remove(self._beat)
            self._lock.release()
            remove(str(self._lock.lock_file))


class LivenessMonitor:
    """See `slidehook.jobs.contract.Liveness`. Each process has one of its own; `clock` returns seconds."""

    def __init__(self, root: Path, *, still_s: float = STILL_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._still_s = still_s
        self._clock = clock
        self._boot = boot_id()
        self._seen: dict[str, tuple[int, float]] = {}

    def dead(self, claimers: set[str]) -> set[str]:
        """Return those of `claimers` whose lock is free and whose process is gone.

        On this host the process is checked; on another, the heartbeat must have stopped for `still_s`.
        """
        # A lock that was free before is tried once more at the end only: trying a lock takes it for a moment, so
        # several watchers would hide from each other that it is free.
        free = {each for each in claimers if each in self._seen or lock_is_free(self._root, each)}
        gone = {each for each in free if self._gone_here(each)}
        return gone | {each for each in self._still(free - gone) if lock_is_free(self._root, each)}

    def _gone_here(self, claimer: str) -> bool:
        match = _CLAIMER.fullmatch(claimer)
        if match is None or match["boot"] != self._boot:
            return False
        pid = int(match["pid"])
        return pid == os.getpid() or not _process_lives(pid)

    def _still(self, claimers: set[str]) -> set[str]:
        self._seen = {each: seen for each, seen in self._seen.items() if each in claimers}
        if not claimers:
            return set()
        now, numbers = self._clock(), read_beats(self._root)
        still: set[str] = set()
        for claimer in claimers:
            number = numbers.get(claimer, -1)
            last, since = self._seen.get(claimer, (None, now))
            if last is None:
                self._seen[claimer] = (number, now)
            elif number != last:
                del self._seen[claimer]
            elif now - since >= self._still_s:
                still.add(claimer)
        return still


def _process_lives(pid: int) -> bool:
    """Return whether a process runs on this host; one that only waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(b")")[2].split()[0] not in {b"Z", b"X"}


def purge_dead_claimers(root: Path, needed: set[str], before_s: float) -> Iterator[str]:
    """Remove locks and beats of dead claimers without a job, if older than `before_s` (s since 1970)."""
    for name in sorted(os.listdir(root / "claimers")):
        claimer = name.removesuffix(".lock")
        if _CLAIMER.fullmatch(claimer) is None:
            continue
        path = root / "claimers" / name
        with contextlib.suppress(FileNotFoundError):
            old = path.stat().st_mtime < before_s
            if old and claimer not in needed and lock_is_free(root, claimer) and remove(str(path)):
                yield claimer
    left = {name.removesuffix(".lock") for name in os.listdir(root / "claimers")}
    for name in sorted(os.listdir(root / "beats")):
        match = _BEAT.fullmatch(name)
        path = root / "beats" / name
        with contextlib.suppress(FileNotFoundError):
            if match and match[1] not in left and path.stat().st_mtime < before_s and remove(str(path)):
                yield match[1]
