"""How much memory an app takes, with all processes that it started, and what happens when that is too much."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path

import structlog

CHECK_EVERY_S = 0.1
"""How often an app's memory is looked at, in seconds: in this time some 500 MiB can be filled."""

log = structlog.get_logger()


def members(group: int) -> list[int]:
    """Give the processes of a process group, those among them whose parent has ended too."""
    found = []
    for entry in Path("/proc").iterdir():
        # A process may end while it is looked at.
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and _group(entry.name) == group:
                found.append(int(entry.name))
    return found


def takes_more(group: int, limit_bytes: float) -> bool:
    """Say whether a process group takes more memory than this, in or out of the swap.

    Files that are mapped don't count, since their pages can be dropped. What the processes share counts once.
    """
    pids = members(group)
    guess = sum(_fields(pid, "status", "RssAnon", "RssShmem", "VmSwap") for pid in pids)
    if guess <= limit_bytes or len(pids) < 2:
        return guess > limit_bytes
    # The guess counts shared pages twice. This is exact, but slow, and older kernels (before 5.3) don't tell it.
    exact = sum(_fields(pid, "smaps_rollup", "Pss_Anon", "Pss_Shmem", "SwapPss") for pid in pids)
    return (exact or guess) > limit_bytes


def end_group(group: int) -> None:
    """Kill all processes of a group at once."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


class MemoryGuard:
    """Kills a process group that takes more memory than it may: use it in `with`.

    A thread of its own, since the main one may wait for DPAT just when the app fills the memory.
    """

    def __init__(self, group: int, limit_bytes: float) -> None:
        self._group = group
        self._limit_bytes = limit_bytes
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="memory", daemon=True)
        self.exceeded = False
        """Whether the group took too much, and was killed."""
        self._blind = False

    def __enter__(self) -> MemoryGuard:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        try:
            while not self._over.wait(CHECK_EVERY_S):
                try:
                    self.exceeded = takes_more(self._group, self._limit_bytes)
                except (OSError, ValueError, IndexError) as error:
                    # As when this process has too many files open: the next look may tell.
                    if not self._blind:
                        log.warning("an app's memory can't be looked at", reason=str(error))
                    self._blind = True
                    continue
                if self.exceeded:
                    return
        finally:
            # Whatever ends the guard before the analysis has ended: nothing runs unguarded.
            if not self._over.is_set():
                end_group(self._group)


def _group(pid: str) -> int:
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    # The name, in brackets, may hold anything; the fields behind it are state, parent, group.
    return int(stat.rpartition(b")")[2].split()[2])


def _fields(pid: int, file: str, *names: str) -> int:
    """Give the sum of fields that are told in KiB, in bytes; 0 of a process that has ended."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
        told = dict(line.split(":", 1) for line in lines if ":" in line)
        return sum(int(told[name].split()[0]) for name in names if name in told) * 1024
    return 0
