"""Finds the processes of an app, measures their memory, and kills them; Linux only."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

CHECK_EVERY_S = 0.1
"""How often an app's memory is checked, in seconds; an app can fill some 500 MiB in that time."""


_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


class Process(NamedTuple):
    """A process of this host; a later process with the same id differs in `started` (clock ticks since the boot)."""

    pid: int
    started: int


class _Stat(NamedTuple):
    parent: int
    group: int
    started: int


def adopt_orphans(*, on: bool = True) -> None:
    """Make orphaned descendants of this process its own children, so that `family` finds them."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(on))


def end_with(parent: int, number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent dies; exits if the parent is dead already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        sys.exit("the process that started this one has ended")


def members(group: int) -> list[int]:
    """Return the ids of the processes in a process group, orphans included, and of their descendants.

    The process with the group's id is included even if it belongs to another group.
    """
    processes = _processes()
    return _with_descendants([pid for pid, stat in processes.items() if group in (pid, stat.group)], processes)


def family(pid: int, *, without: Collection[Process] = ()) -> list[int]:
    """Return the ids of a process and all of its descendants.

    `without`: processes that are left out, together with their descendants.
    """
    processes = _processes()
    for other in without:
        if other.pid in processes and processes[other.pid].started == other.started:
            del processes[other.pid]
    return _with_descendants([pid], processes)


def children(pid: int) -> list[Process]:
    """Return the living child processes of a process."""
    return [Process(each, stat.started) for each, stat in _processes().items() if stat.parent == pid]


def end(find: Callable[[], Collection[int]]) -> list[int]:
    """Kill the processes that `find` returns; returns their ids.

    All of them are stopped first, until `find` returns no new one, so that none can start another. If an id passes to
    another process between finding and killing, that process is not killed.
    """
    held: dict[int, int | None] = {}
    try:
        while new := set(find()) - held.keys():
            opened = {pid: _hold(pid) for pid in new}
            again = set(find())  # a process that is found again is the one that was opened
            for pid, hold in opened.items():
                if pid in again:
                    held[pid] = hold
                    _send(pid, hold, signal.SIGSTOP)
                elif hold is not None:
                    os.close(hold)
    finally:
        for pid, hold in held.items():
            _send(pid, hold, signal.SIGKILL)
            if hold is not None:
                os.close(hold)
    return [*held]


def _hold(pid: int) -> int | None:
    """Open a descriptor of a process; None if it has ended, or on a kernel before 5.3."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _send(pid: int, hold: int | None, number: signal.Signals) -> None:
    # It may have ended, or belong to another user by now.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hold is None:
            os.kill(pid, number)
        else:
            signal.pidfd_send_signal(hold, number)


def with_started(pids: list[int]) -> list[int]:
    """Return the ids of processes and all of their descendants."""
    return _with_descendants(pids, _processes())


def _with_descendants(pids: list[int], processes: dict[int, _Stat]) -> list[int]:
    started_by = defaultdict(list)
    for each, stat in processes.items():
        started_by[stat.parent].append(each)
    found = dict.fromkeys(pids)
    ahead = [*found]
    for each in ahead:
        new = [child for child in started_by[each] if child not in found]
        found.update(dict.fromkeys(new))
        ahead += new
    return ahead


def take_more(pids: Collection[int], limit_bytes: float) -> bool:
    """Return whether processes together use more than `limit_bytes` of memory, including swap.

    Mapped files don't count, because their pages can be dropped. Shared memory counts once.
    """
    guess = sum(_fields(pid, "status", "RssAnon", "RssShmem", "VmSwap") for pid in pids)
    if guess <= limit_bytes or len(pids) < 2:
        return guess > limit_bytes
    # The guess counts shared pages twice. This sum is exact, but slow, and missing on kernels before 5.3.
    exact = sum(_fields(pid, "smaps_rollup", "Pss_Anon", "Pss_Shmem", "SwapPss") for pid in pids)
    return (exact or guess) > limit_bytes


def _processes() -> dict[int, _Stat]:
    """Return the parts of each process's `stat` that are needed here, by process id."""
    found = {}
    for entry in Path("/proc").iterdir():
        # A process may end while it is read.
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                stat = (entry / "stat").read_bytes()
                # The name, in brackets, may contain anything. The fields after it begin with the third, the state.
                fields = stat.rpartition(b")")[2].split()
                found[int(entry.name)] = _Stat(int(fields[1]), int(fields[2]), int(fields[19]))
    return found


def _fields(pid: int, file: str, *names: str) -> int:
    """Return the sum, in bytes, of fields in KiB; 0 for a process that has ended."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
        values = dict(line.split(":", 1) for line in lines if ":" in line)
        return sum(int(values[name].split()[0]) for name in names if name in values) * 1024
    return 0
