"""Holds an app that is tried to the time and memory that it may take in a worker.

There it runs in a process of its own, which is killed; here in the author's, so that it can be looked at with a
debugger. So the main thread is interrupted, and only if that does not help the program ends.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from slidehook.errors import AppError, AppOutOfMemory, AppTimeout
from slidehook.running.process_tree import CHECK_EVERY_S, adopt_orphans, children, end, family, take_more

NUDGE = signal.SIGUSR1
"""What the main thread is interrupted with."""
STOP_S = 5.0
"""How long it may take to stop then, in seconds: it may be computing outside of Python, or catch every error."""


@contextmanager
def limited(*, timeout_s: float, memory_gb: float | None, last_words: Callable[[AppError], None]) -> Iterator[None]:
    """Raise AppTimeout or AppOutOfMemory in this block, in the main thread, when it takes more than it may.

    What the block has started is killed then, and nothing that this process had started before. A block that catches
    the error ends with it all the same; should it not end within `STOP_S`, `last_words` is called with it in another
    thread, and the program ends with status 1.
    """
    watch = _Watch(timeout_s, memory_gb, last_words)
    before = signal.signal(NUDGE, watch.interrupt)
    adopt_orphans()
    watch.start()
    try:
        try:
            yield
        finally:
            watch.over.set()
    finally:
        # Once more, for the interruption may have come just before it was set; after that there is none.
        watch.over.set()
        watch.join()
        adopt_orphans(on=False)
        signal.signal(NUDGE, before)
        if watch.error is not None:
            raise watch.error


class _Watch(threading.Thread):
    def __init__(self, timeout_s: float, memory_gb: float | None, last_words: Callable[[AppError], None]) -> None:
        super().__init__(name="limits", daemon=True)
        self.over = threading.Event()
        self._timeout_s = timeout_s
        self._until = time.monotonic() + timeout_s
        self._memory_gb = memory_gb
        self._last_words = last_words
        self._others = children(os.getpid())
        self.error: AppError | None = None
        """What is exceeded."""

    def interrupt(self, _: int, __: types.FrameType | None) -> None:
        """Raise what is exceeded, unless the block is over; called in the main thread."""
        if self.error is not None and not self.over.is_set():
            raise self.error

    def run(self) -> None:
        while not self.over.wait(CHECK_EVERY_S):
            self.error = self._exceeded()
            if self.error is not None:
                self._end(self.error)
                return

    def _exceeded(self) -> AppError | None:
        if self._memory_gb is not None and take_more(self._members(), self._memory_gb * 2**30):
            return AppOutOfMemory.over(self._memory_gb)
        return AppTimeout.after(self._timeout_s) if time.monotonic() > self._until else None

    def _members(self) -> list[int]:
        """Give this process, and what the block has started."""
        return family(os.getpid(), without=self._others)

    def _end(self, error: AppError) -> None:
        end(lambda: self._members()[1:])
        signal.pthread_kill(threading.main_thread().ident or 0, NUDGE)
        if not self.over.wait(STOP_S):
            self._last_words(error)
            os._exit(1)
