"""How a worker is told to leave, also while it waits for a server that sends nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from slidehook.errors import SlidehookError


class WorkerLeaving(SlidehookError):
    """The worker is told to leave: its job goes back to the queue, and this attempt does not count."""


class Leaving:
    """The wish that this process leaves; `ask` is called by a signal handler, in the main thread."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._interruptible = False

    def ask(self) -> None:
        """Tell the worker to leave; raises WorkerLeaving where it said that it may be interrupted."""
        self._asked.set()
        if self._interruptible:
            self._interruptible = False
            raise WorkerLeaving("the worker was told to leave")

    @property
    def asked(self) -> bool:
        """Whether the worker was told to leave."""
        return self._asked.is_set()

    def check(self) -> None:
        """Raise WorkerLeaving if the worker was told to leave."""
        if self.asked:
            raise WorkerLeaving("the worker was told to leave")

    def wait(self, timeout_s: float) -> None:
        """Wait for so many seconds, or until the worker is told to leave."""
        self._asked.wait(timeout_s)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let `ask` break off what is done in this block: only what may stop at any instruction."""
        self._interruptible = True
        try:
            self.check()
            yield
        finally:
            self._interruptible = False
