"""Which processes an app has, how much memory they take, as the kernel tells it, and how they end."""

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
"""How often an app's memory is looked at, in seconds: in this time some 500 MiB can be filled."""


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
    """Have what this process's children leave behind become its own children, so that `family` finds it."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(on))


def end_with(parent: int, number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent dies; exits if that is dead already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        sys.exit("who started this process is gone")


def members(group: int) -> list[int]:
    """Give the processes of a process group, those whose parent has ended too, and what they have started.

    The process with the group's id is one of them, even if it belongs to another group.
    """
    processes = _processes()
    return _with_descendants([pid for pid, stat in processes.items() if group in (pid, stat.group)], processes)


def family(pid: int, *, without: Collection[Process] = ()) -> list[int]:
    """Give a process, what it has started, what that has started, and so on.

    `without`: processes that are left out, together with all that they have started.
    """
    processes = _processes()
    for other in without:
        if other.pid in processes and processes[other.pid].started == other.started:
            del processes[other.pid]
    return _with_descendants([pid], processes)


def children(pid: int) -> list[Process]:
    """Give the processes that a process has started and that still live."""
    return [Process(each, stat.started) for each, stat in _processes().items() if stat.parent == pid]


def end(find: Callable[[], Collection[int]]) -> list[int]:
    """Kill the processes that `find` gives, and give their ids.

    They are stopped first, until there is none that was not, so that none starts another one meanwhile. A process id
    that is given to another process between finding and killing is not killed.
    """
    held: dict[int, int | None] = {}
    try:
        while new := set(find()) - held.keys():
            opened = {pid: _hold(pid) for pid in new}
            again = set(find())  # who is found now as well is who is held
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
    """Open a descriptor of a process; None when it has ended, or the kernel (before 5.3) has no such thing."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _send(pid: int, hold: int | None, number: signal.Signals) -> None:
    # It may have ended, or be another user's by now.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hold is None:
            os.kill(pid, number)
        else:
            signal.pidfd_send_signal(hold, number)


def with_started(pids: list[int]) -> list[int]:
    """Give processes, what they have started, what that has started, and so on."""
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
    """Say whether processes take more memory together than this, in or out of the swap.

    Files that are mapped don't count, since their pages can be dropped. What the processes share counts once.
    """
    guess = sum(_fields(pid, "status", "RssAnon", "RssShmem", "VmSwap") for pid in pids)
    if guess <= limit_bytes or len(pids) < 2:
        return guess > limit_bytes
    # The guess counts shared pages twice. This is exact, but slow, and older kernels (before 5.3) don't tell it.
    exact = sum(_fields(pid, "smaps_rollup", "Pss_Anon", "Pss_Shmem", "SwapPss") for pid in pids)
    return (exact or guess) > limit_bytes


def _processes() -> dict[int, _Stat]:
    """Give what is needed of each process's `stat`, by process id."""
    found = {}
    for entry in Path("/proc").iterdir():
        # A process may end while it is looked at.
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                stat = (entry / "stat").read_bytes()
                # The name, in brackets, may hold anything. The fields behind it begin with the third, the state.
                fields = stat.rpartition(b")")[2].split()
                found[int(entry.name)] = _Stat(int(fields[1]), int(fields[2]), int(fields[19]))
    return found


def _fields(pid: int, file: str, *names: str) -> int:
    """Give the sum of fields that are told in KiB, in bytes; 0 of a process that has ended."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
        told = dict(line.split(":", 1) for line in lines if ":" in line)
        return sum(int(told[name].split()[0]) for name in names if name in told) * 1024
    return 0
