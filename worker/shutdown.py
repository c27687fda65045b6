"""Stops a worker or its job while it waits for a server that sends nothing.

No exception is thrown into running code. Whatever may wait for a server runs in a thread of its own (`Call`). The
main thread waits until the call has ended, the job must stop, or the time is over; then it abandons the call.
"""

from __future__ import annotations

import contextvars
import math
import queue
import signal
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Generic, TypeVar

import structlog

from slidehook.errors import SlidehookError

TICK_S = 0.25
"""How often whoever waits for a call is asked for its other duties, in seconds."""

T = TypeVar("T")
_current: contextvars.ContextVar[Call[Any] | None] = contextvars.ContextVar("_current", default=None)
"""The call that the running code belongs to."""


def leave_signals() -> list[signal.Signals]:
    """Return the signals that end a worker: SIGTERM, Ctrl-C, and a closed terminal unless `nohup` ignores that."""
    wanted = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        wanted.append(signal.SIGHUP)
    return wanted


class WorkerLeaving(SlidehookError):
    """The worker was asked to leave: its job goes back to the queue, and this attempt does not count."""


class TooSlow(SlidehookError):
    """A call did not end in the time that it was given."""


class Abandoned(SlidehookError):
    """The call that raises this was abandoned."""


class Call(Generic[T]):
    """Work that may wait for a server, in a daemon thread: a worker that leaves does not wait for it.

    Once it is abandoned, `check_abandoned` raises in it: the thread may still wait for an answer, but sends nothing
    further and notes nothing.
    """

    def __init__(self, work: Callable[[], T], changed: threading.Condition) -> None:
        self._work = work
        self._changed = changed
        self.keeping = threading.Lock()
        """Delays `abandon` while it is held, see `kept`."""
        self.abandoned = False
        self._value: list[T] = []
        self.ended = False
        self.error: BaseException | None = None
        """What the work raised, once the call has ended."""

    def start(self) -> None:
        """Begin the work; what it logs carries the job's id."""
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(self._run,), name="call", daemon=True).start()

    def _run(self) -> None:
        _current.set(self)
        try:
            self._value.append(self._work())
        except BaseException as error:
            self.error = error
        with self._changed:
            self.ended = True
            self._changed.notify_all()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end of the call, `timeout_s` seconds at most; returns whether it has ended."""
        with self._changed:
            return self._changed.wait_for(lambda: self.ended, timeout_s)

    def result(self) -> T:
        """Return what the work of an ended call returned, or raise what it raised."""
        if self.error is not None:
            raise self.error
        return self._value[0]

    def abandon(self) -> None:
        """Keep the call from sending or noting anything from now on."""
        with self.keeping:
            self.abandoned = True
        with self._changed:
            self._changed.notify_all()


def check_abandoned() -> None:
    """Raise Abandoned if the running code belongs to an abandoned call."""
    if (call := _current.get()) is not None and call.abandoned:
        raise Abandoned("the job has been stopped")


@contextmanager
def kept() -> Iterator[None]:
    """Keep the running call from being abandoned during this block; raises Abandoned if it was before."""
    call = _current.get()
    with call.keeping if call is not None else nullcontext():
        check_abandoned()
        yield


class Interruption:
    """The request that this worker leaves, or drops its job. Thread-safe."""

    def __init__(self) -> None:
        self.asked = False
        """Whether the worker was asked to leave."""
        self._dropped: SlidehookError | None = None
        self._changed = threading.Condition()
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()

    def listen(self) -> None:
        """Leave on the signals of `leave_signals`; the main thread calls this."""
        threading.Thread(target=self._log_and_ask, name="signals", daemon=True).start()
        for each in leave_signals():
            signal.signal(each, self._on_signal)

    def _on_signal(self, number: int, _: types.FrameType | None) -> None:
        # The main thread may hold any lock now, so this must not take one.
        self.asked = True
        self._signals.put(number)

    def _log_and_ask(self) -> None:
        while True:
            number = self._signals.get()
            structlog.get_logger().info("leaving", signal=signal.Signals(number).name)
            self.ask()

    def ask(self) -> None:
        """Ask the worker to leave."""
        self.asked = True
        with self._changed:
            self._changed.notify_all()

    def drop(self, why: SlidehookError) -> None:
        """Have the job dropped for this reason."""
        with self._changed:
            self._dropped = why
            self._changed.notify_all()

    def forget(self) -> None:
        """Forget the reason of `drop`."""
        self._dropped = None

    def check(self) -> None:
        """Raise WorkerLeaving, the reason why the job is to be dropped, or Abandoned in an abandoned call."""
        check_abandoned()
        self._check(leave=True)

    def _check(self, *, leave: bool) -> None:
        if leave and self.asked:
            raise WorkerLeaving("the worker was told to leave")
        if self._dropped is not None:
            raise self._dropped

    def wait(self, timeout_s: float) -> None:
        """Wait for `timeout_s` seconds, or until `check` would raise."""
        call = _current.get()

        def is_over() -> bool:
            return self.asked or self._dropped is not None or (call is not None and call.abandoned)

        self._changes(is_over, timeout_s)

    def pause(self, seconds: float) -> None:
        """Sleep between two tries, unless `check` raises."""
        self.wait(seconds)
        self.check()

    def start(self, work: Callable[[], T]) -> Call[T]:
        """Begin `work` in a thread of its own."""
        call = Call(work, self._changed)
        call.start()
        return call

    def run(
        self,
        work: Callable[[], T],
        *,
        within_s: float = math.inf,
        leave: bool = True,
        tick: Callable[[], None] = lambda: None,
    ) -> T:
        """Do `work` in a thread of its own, and return what it returns.

        Meanwhile `tick` is called in this thread about four times a second; what it raises abandons the work, too.

        Raises what `work` raises. The work is abandoned, wherever it is, if the worker is asked to leave
        (WorkerLeaving; not without `leave`), if the job is to be dropped (the reason of `drop`), or after `within_s`
        seconds (TooSlow).
        """
        self._check(leave=leave)
        until = time.monotonic() + within_s
        call = self.start(work)

        def is_over() -> bool:
            return call.ended or self._dropped is not None or (leave and self.asked)

        try:
            while not self._changes(is_over, min(TICK_S, until - time.monotonic())) and time.monotonic() < until:
                tick()
            if call.ended:
                return call.result()
            self._check(leave=leave)
            raise TooSlow("no answer in time")
        finally:
            if not call.ended:
                call.abandon()

    def _changes(self, is_over: Callable[[], bool], timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(is_over, timeout_s)
