"""How a worker is told to leave, or to drop its job, also while it waits for a server that sends nothing."""

from __future__ import annotations

import signal
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from slidehook.errors import SlidehookError

NUDGE = signal.SIGUSR1
"""What a thread wakes the main thread with."""


def leave_signals() -> list[signal.Signals]:
    """Give what tells a worker to leave: SIGTERM, Ctrl-C, and a closed terminal unless `nohup` has it ignore that."""
    wanted = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        wanted.append(signal.SIGHUP)
    return wanted


class WorkerLeaving(SlidehookError):
    """The worker is told to leave: its job goes back to the queue, and this attempt does not count."""


class Interruption:
    """The wish that this process leaves, or drops its job. Both reach the main thread where it may be interrupted."""

    def __init__(self) -> None:
        self.asked = False
        """Whether the worker was told to leave."""
        self._woken = threading.Event()
        self._interruptible = False
        self._droppable = False
        self._dropped: SlidehookError | None = None
        self._nudged = False

    def listen(self) -> None:
        """Leave on the signals of `leave_signals`; other threads may interrupt the main thread, which calls this."""
        for each in leave_signals():
            signal.signal(each, self._told)
        signal.signal(NUDGE, self._nudge)
        self._nudged = True

    def _told(self, number: int, _: types.FrameType | None) -> None:
        structlog.get_logger().info("leaving", signal=signal.Signals(number).name)
        self.ask()

    def _nudge(self, _: int, __: types.FrameType | None) -> None:
        self._interrupt()
        if self._droppable and self._dropped is not None:
            self._droppable = False
            raise self._dropped

    def _interrupt(self) -> None:
        if self._interruptible and (self.asked or self._dropped is not None):
            self._interruptible = False
            self.check()

    def ask(self) -> None:
        """Tell the worker to leave; raises WorkerLeaving where it said that it may be interrupted."""
        self.asked = True
        self._woken.set()
        self._interrupt()

    def drop(self, why: SlidehookError) -> None:
        """Have the main thread drop its job for this reason; called from another thread."""
        self._dropped = why
        self._woken.set()
        if self._nudged:
            signal.pthread_kill(threading.main_thread().ident or 0, NUDGE)

    def forget(self) -> None:
        """Forget what was said of the job: it is over."""
        self._dropped = None
        if not self.asked:
            self._woken.clear()
        if self.asked:  # since the look above
            self._woken.set()

    def check(self) -> None:
        """Raise WorkerLeaving if the worker was told to leave, or why its job is to be dropped; for any thread."""
        if self.asked:
            raise WorkerLeaving("the worker was told to leave")
        if self._dropped is not None:
            raise self._dropped

    def wait(self, timeout_s: float) -> None:
        """Wait for so many seconds, or until the worker is told to leave."""
        self._woken.wait(timeout_s)

    def pause(self, seconds: float) -> None:
        """Sleep between two tries, unless `check` raises."""
        self._woken.wait(seconds)
        self.check()

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let `ask` and `drop` break off what is done in this block: only what may stop at any instruction."""
        self._interruptible = True
        try:
            self.check()
            yield
        finally:
            self._interruptible = False

    @contextmanager
    def droppable(self) -> Iterator[None]:
        """Let `drop` alone break off this block: a worker that leaves still does what took so long to prepare."""
        before, self._droppable = self._droppable, True
        try:
            if self._dropped is not None:
                raise self._dropped
            yield
        finally:
            self._droppable = before

    @contextmanager
    def at_most(self, seconds: float, why: SlidehookError) -> Iterator[None]:
        """Break off this block for this reason, wherever it is, when it takes longer than so many seconds."""
        timer = threading.Timer(seconds, self.drop, (why,))
        timer.daemon = True
        timer.start()
        try:
            with self.droppable():
                yield
        finally:
            timer.cancel()
            timer.join()
            self.forget()
