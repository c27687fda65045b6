"""Runs several workers, each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import types
from contextlib import suppress

import structlog

from slidehook.backoff import Backoff
from slidehook.startup import CANT_START
from worker.shutdown import Interruption, leave_signals

CHECK_EVERY_S = 0.2
RESTART_BACKOFF = Backoff(first_s=0.5, most_s=30.0, spread=False)
"""The delay before a worker that died young is started again."""
STARTS_MOST = 8
"""How often in a row a worker may end before it is ready; then it is not started again."""
YOUNG_S = 60.0
"""A worker that lived longer than this, in seconds, is started again at once."""


def supervise(processes: int, leaving: Interruption, *, drain: bool) -> int:
    """Run this many workers, and start each again if it dies. Returns the exit status for all of them."""
    return _Supervisor(leaving, drain=drain).run(processes)


def report_ready(fd: int | None) -> None:
    """Write to a file descriptor, if there is one, that this worker is ready, and close it."""
    if fd is not None:
        with suppress(BrokenPipeError):  # the supervisor is gone
            os.write(fd, b"1")
        os.close(fd)


class _Place:
    """One of the workers: its present process, if any, and the history of its earlier ones."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self.process: subprocess.Popen[bytes] | None = None
        self._ready = -1
        self._began = 0.0
        self.starts = 0
        """How many processes in a row ended before they were ready."""
        self._deaths = 0
        self.due = 0.0
        """When the next process is due, in seconds of the monotonic clock."""

    def start(self) -> subprocess.Popen[bytes]:
        self._ready, theirs = os.pipe()
        os.set_blocking(self._ready, False)  # a child process of the worker may keep it open
        try:
            command = [*self._command, "--ready", str(theirs)]
            self.process = process = subprocess.Popen(command, pass_fds=[theirs])  # noqa: S603 - our own command
        finally:
            os.close(theirs)
        self._began = time.monotonic()
        return process

    def ended(self) -> None:
        """Record that the process has ended, and when the next one is due."""
        was_ready = False
        with suppress(BlockingIOError):
            was_ready = os.read(self._ready, 1) != b""
        os.close(self._ready)
        self.process = None
        now = time.monotonic()
        self.starts = 0 if was_ready else self.starts + 1
        self._deaths = 0 if was_ready and now - self._began > YOUNG_S else self._deaths + 1
        # The first death after some work costs no time: its job may be to blame.
        self.due = now + (RESTART_BACKOFF.wait_s(self._deaths) if self.starts or self._deaths > 1 else 0.0)


class _Supervisor:
    """Runs workers as child processes that end with this one."""

    def __init__(self, leaving: Interruption, *, drain: bool) -> None:
        self._leaving = leaving
        self._command = [sys.executable, "-m", "worker", "--parent", str(os.getpid())]
        if drain:
            self._command.append("--drain")
        self._places: list[_Place] = []
        self._worst = 0

    def run(self, processes: int) -> int:
        for number in leave_signals():
            signal.signal(number, self._leave)
        self._places = [_Place(self._command) for _ in range(processes)]
        while self._places:
            for place in list(self._places):
                self._check(place)
            time.sleep(CHECK_EVERY_S)
        return self._worst

    def _check(self, place: _Place) -> None:
        if place.process is None:
            if self._leaving.asked:
                self._places.remove(place)
            elif time.monotonic() >= place.due:
                self._start(place)
            return
        code = place.process.poll()
        if code is not None:
            place.ended()
            self._ended(place, code)

    def _start(self, place: _Place) -> None:
        process = place.start()
        if self._leaving.asked:  # asked while the worker was being started
            process.terminate()

    def _leave(self, number: int, _: types.FrameType | None) -> None:
        self._leaving.ask()
        for place in self._places:
            if place.process is not None:
                place.process.send_signal(number)

    def _ended(self, place: _Place, code: int) -> None:
        """Decide by a worker's exit status what happens next."""
        log = structlog.get_logger()
        if self._leaving.asked:
            # A worker that gets the signal before it handles it ends by that signal.
            self._worst = max(self._worst, 0 if -code in leave_signals() else abs(code))
        elif code == CANT_START or (code and place.starts >= STARTS_MOST):
            if code != CANT_START:
                log.error("a worker could not start, and is not tried again", status=code, tries=place.starts)
            self._worst = abs(code)
            self._leave(signal.SIGTERM, None)
        elif code:
            wait = max(0.0, place.due - time.monotonic())
            log.error("a worker died and is started again", status=code, wait_s=f"{wait:.1f}")
            return
        self._places.remove(place)
