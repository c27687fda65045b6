"""Starts the demo's processes, each with its own log, and stops all of them at the end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from slidehook.errors import SlidehookError
from slidehook.private import open_private, private_folder

START_S = 60.0
STOP_S = 15.0


class StartFailed(SlidehookError):
    """A part of the demo did not start."""


class DemoProcesses:
    """Processes that run for the duration of a `with` block."""

    def __init__(self, folder: Path) -> None:
        self.logs = folder / "logs"
        private_folder(self.logs)
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> DemoProcesses:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        # In reverse order, so that no process loses a server that it calls.
        for _, process in reversed(self._running):
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def start(self, name: str, command: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start a command with an extended environment; its output goes to `logs/<name>.log`."""
        with open_private(self.logs / f"{name}.log") as log:
            # In its own session, so that Ctrl-C reaches only the demo, which stops the processes in order.
            process = subprocess.Popen(  # noqa: S603 - our own scripts
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | env,
                start_new_session=True,
            )
        self._running.append((name, process))
        return process

    def wait_for(self, name: str, ready: Callable[[], bool]) -> None:
        """Wait until a process is `ready`; otherwise raises StartFailed with the end of its log."""
        process = next(each for title, each in self._running if title == name)
        deadline = time.monotonic() + START_S
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise StartFailed(f"the {name} did not start; {self.logs / name}.log ends:\n{self.tail(name)}")
            time.sleep(0.05)

    def text(self, name: str) -> str:
        """Return a process's output so far."""
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def tail(self, name: str, lines: int = 15) -> str:
        """Return the last lines of a process's output."""
        return "\n".join(self.text(name).splitlines()[-lines:])


def free_port(wanted: int) -> int:
    """Return `wanted` if it is free on this host, else any free port."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StartFailed("no port is free on this host")


SLIDEHOOK = str(Path(sys.executable).with_name("slidehook"))
"""The command `slidehook` of this environment."""
