"""A test run leaves no process behind, however it ends: a watchdog outlives it and kills what it has started.

`watch_this_process` starts this file as a program of its own, so it imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import uuid
from pathlib import Path

MARK = "SWEPT_WITH_TEST_RUN"
"""The variable by which a program is known as started by one process of pytest, directly or not."""
ROUNDS = 200
"""How many times the watchdog lists the processes at most: one that can't be killed must not keep it alive."""
ROUND_S = 0.02


def watch_this_process() -> str:
    """Have everything killed that this process starts from now on, once it has ended; returns the value of `MARK`.

    A process of pytest-xdist is watched by itself: its programs end with it, though the run goes on without it.
    """
    unmarked = {name: value for name, value in os.environ.items() if name != MARK}
    mark = os.environ[MARK] = uuid.uuid4().hex
    pidfd = os.pidfd_open(os.getpid())
    os.set_inheritable(pidfd, True)
    nowhere = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    command = [sys.executable, "-I", "-S", __file__, str(pidfd), mark]
    starter = os.posix_spawn(sys.executable, command, unmarked, file_actions=nowhere, setsid=True)
    os.close(pidfd)
    # The watchdog's parent has then ended: tests that look for this process's children do not find the watchdog.
    _, status = os.waitpid(starter, 0)
    if status:
        raise RuntimeError(f"the watchdog of the test run did not start: status {status}")
    return mark


def marked(mark: str) -> set[int]:
    """Return the ids of the living processes with this value of `MARK`, and of their descendants."""
    wanted = f"{MARK}={mark}".encode()
    found: set[int] = set()
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        # A process may end while it is read; another user's can't be read.
        with contextlib.suppress(OSError):
            if not entry.name.isdigit():
                continue
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state == "Z":
                continue
            children.setdefault(int(parent), []).append(int(entry.name))
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.add(int(entry.name))
    new = found
    while new := {child for pid in new for child in children.get(pid, [])} - found:
        found = found | new
    return found


def _main(pidfd: int, mark: str) -> None:
    if os.fork():
        os._exit(0)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    select.select([pidfd], [], [])  # readable once the process has ended
    for _ in range(ROUNDS):
        left = marked(mark)
        if not left:
            return
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        select.select([], [], [], ROUND_S)


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2])
