"""Runs several workers as processes of their own."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import types

import structlog

from worker.leaving import Leaving, leave_signals

CANT_START = 78
"""The exit status of a worker that can't start as things are: starting it again would not help (EX_CONFIG)."""
LOOK_S = 0.2
_PR_SET_PDEATHSIG = 1


def end_with(parent: int, number: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent dies; exits if that is dead already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        sys.exit("who started this process is gone")


def supervise(processes: int, leaving: Leaving, *, drain: bool) -> int:
    """Run so many workers; one that dies is started again. Gives the exit status for all of them."""
    return _Supervisor(leaving, drain=drain).run(processes)


class _Supervisor:
    """Several workers, each a child process that ends with this one."""

    def __init__(self, leaving: Leaving, *, drain: bool) -> None:
        self._leaving = leaving
        self._command = [sys.executable, "-m", "worker", "--parent", str(os.getpid())]
        if drain:
            self._command.append("--drain")
        self._workers: list[subprocess.Popen[bytes]] = []
        self._worst = 0

    def run(self, processes: int) -> int:
        for number in leave_signals():
            signal.signal(number, self._leave)
        for _ in range(processes):
            self._start()
        while self._workers:
            for each in list(self._workers):
                try:
                    code = each.wait(timeout=LOOK_S)
                except subprocess.TimeoutExpired:
                    continue
                self._workers.remove(each)
                self._ended(code)
        return self._worst

    def _start(self) -> None:
        self._workers.append(subprocess.Popen(self._command))  # noqa: S603 - our own command
        if self._leaving.asked:  # told to while the worker was being started
            self._workers[-1].terminate()

    def _leave(self, number: int, _: types.FrameType | None) -> None:
        self._leaving.ask()
        for each in self._workers:
            each.send_signal(number)

    def _ended(self, code: int) -> None:
        if self._leaving.asked:
            # A worker that is told to leave before it listens ends by the signal itself.
            self._worst = max(self._worst, 0 if -code in leave_signals() else abs(code))
        elif code == CANT_START:
            self._worst = code
            self._leave(signal.SIGTERM, None)
        elif code:
            structlog.get_logger().error("a worker died and is started again", status=code)
            self._start()
