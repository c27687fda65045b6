"""Real processes under test: started with a mark in their environment, watched, and ended by process id."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

HOUSE = Path(__file__).resolve().parents[2]
MARK = "E2E_MARK"
"""The variable that everything started here, and all that this starts in turn, has in its environment."""
LOOK_S = 0.02

T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str, *, within_s: float = 90.0) -> T:
    """Ask `condition` until it gives something true, and give that; fails after `within_s` seconds."""
    until = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < until, f"not within {within_s:g} s: {what}"
        time.sleep(LOOK_S)
    return found


def free_port() -> int:
    """Return a port of this host that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Program:
    """A started command; what it prints goes to `log`."""

    def __init__(self, command: list[str], *, env: Mapping[str, str], mark: str, log: Path, cwd: Path) -> None:
        self.log = log
        self.mark = mark
        self.started_at = time.monotonic()
        plain = {name: value for name, value in os.environ.items() if not name.startswith("SLIDEHOOK_")}
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**plain, **env, MARK: mark},
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id; the scripts exec, so it is gunicorn's or the worker's own."""
        return self.process.pid

    def text(self) -> str:
        """Return what it has printed."""
        return self.log.read_text(errors="replace")

    def children(self) -> list[int]:
        """Return the process ids of its living children."""
        return [pid for pid in living(self.mark) if _parent(pid) == self.pid]

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send it a signal, if it lives."""
        self.process.send_signal(number)

    def ended(self, within_s: float = 90.0) -> int:
        """Wait until it has ended, and give its exit status; fails after `within_s` seconds."""
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.log.stem} runs on after {within_s:g} s") from None


def living(mark: str) -> dict[int, str]:
    """Return the command line of each living process that bears the mark, by process id."""
    wanted = f"{MARK}={mark}".encode()
    found = {}
    for entry in Path("/proc").iterdir():
        # A process may end while it is looked at; another user's can't be looked into.
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def end_all(mark: str) -> None:
    """Kill every process that bears the mark, whoever started it."""

    def none_is_left() -> bool:
        left = living(mark)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    wait_for(none_is_left, "all processes have ended")


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and was not yet asked for its status does not."""
    try:
        return _stat(pid)[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _parent(pid: int) -> int | None:
    try:
        return int(_stat(pid)[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def files_below(folder: Path) -> list[Path]:
    """Return every file below `folder`, while other processes may remove files and folders there.

    Not `Path.rglob`: before Python 3.13 it raises when a folder vanishes.
    """
    return [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]


def traces(folder: Path, *texts: str) -> dict[str, list[str]]:
    """Return the files below `folder` that hold any of `texts`, with those that they hold."""
    found: dict[str, list[str]] = {}
    for path in files_below(folder):
        with contextlib.suppress(FileNotFoundError):
            content = path.read_bytes()
            if held := [text for text in texts if text.encode() in content]:
                found[str(path.relative_to(folder))] = held
    return found
