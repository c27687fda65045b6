"""Runs several workers as processes of their own."""

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

LOOK_S = 0.2
RESTART_BACKOFF = Backoff(first_s=0.5, most_s=30.0, spread=False)
"""How long a worker that dies young waits to be started again."""
STARTS_MOST = 8
"""How often in a row a worker may end before it is ready."""
YOUNG_S = 60.0
"""A worker that lived for longer, in seconds, is started again at once."""


def supervise(processes: int, leaving: Interruption, *, drain: bool) -> int:
    """Run so many workers; one that dies is started again. Gives the exit status for all of them."""
    return _Supervisor(leaving, drain=drain).run(processes)


def say_ready(fd: int | None) -> None:
    """Tell on a file descriptor, if there is one, that this worker has started, and close it."""
    if fd is not None:
        with suppress(BrokenPipeError):  # who wanted to know it is gone
            os.write(fd, b"1")
        os.close(fd)


class _Place:
    """One of the workers that are to run: the process that is it now, if any, and how those before it ended."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self.process: subprocess.Popen[bytes] | None = None
        self._ready = -1
        self._began = 0.0
        self.starts = 0
        """How many in a row have ended before they were ready."""
        self._deaths = 0
        self.due = 0.0
        """When the next is to be started, in seconds of the monotonic clock."""

    def start(self) -> subprocess.Popen[bytes]:
        self._ready, theirs = os.pipe()
        os.set_blocking(self._ready, False)  # a process that the worker has started may keep it open
        try:
            command = [*self._command, "--ready", str(theirs)]
            self.process = process = subprocess.Popen(command, pass_fds=[theirs])  # noqa: S603 - our own command
        finally:
            os.close(theirs)
        self._began = time.monotonic()
        return process

    def ended(self) -> None:
        """Take note that the process has ended, and say when the next is due."""
        was_ready = False
        with suppress(BlockingIOError):
            was_ready = os.read(self._ready, 1) != b""
        os.close(self._ready)
        self.process = None
        now = time.monotonic()
        self.starts = 0 if was_ready else self.starts + 1
        self._deaths = 0 if was_ready and now - self._began > YOUNG_S else self._deaths + 1
        # The first death of one that worked costs no time: its job may be to blame.
        self.due = now + (RESTART_BACKOFF.wait_s(self._deaths) if self.starts or self._deaths > 1 else 0.0)


class _Supervisor:
    """Several workers, each a child process that ends with this one."""

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
                self._look_after(place)
            time.sleep(LOOK_S)
        return self._worst

    def _look_after(self, place: _Place) -> None:
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
        if self._leaving.asked:  # told to while the worker was being started
            process.terminate()

    def _leave(self, number: int, _: types.FrameType | None) -> None:
        self._leaving.ask()
        for place in self._places:
            if place.process is not None:
                place.process.send_signal(number)

    def _ended(self, place: _Place, code: int) -> None:
        """Decide what follows from the end of a worker, by its exit status."""
        log = structlog.get_logger()
        if self._leaving.asked:
            # A worker that is told to leave before it listens ends by the signal itself.
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
