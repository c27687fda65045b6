"""Does work in a thread behind its caller: what waits for the disk need not hold up what waits for the network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import Self

AHEAD = 8
"""How many pieces of work may wait: with each goes the memory that it holds."""


class BackgroundWriter:
    """One thread that does what it is given, in order; a `with` block ends it.

    After a piece of work has raised something, the others are passed over, and the caller gets that error from the
    next `do`, or from `finish`. What is left when the block is left by an error is passed over too.
    """

    def __init__(self) -> None:
        # Both of C: an error that a signal raises in the caller leaves no lock of theirs behind.
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._done: SimpleQueue[None] = SimpleQueue()
        self._waiting = 0
        self._over = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="behind", daemon=True)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the thread, after the piece that it is at."""
        self._over = True
        self._work.put(None)
        self._thread.join()

    def do(self, work: Callable[[], None]) -> None:
        """Have `work` done; waits while too much is waiting already."""
        while self._waiting >= AHEAD:
            self._one_done()
        self._work.put(work)
        self._waiting += 1

    def finish(self) -> None:
        """Wait until all is done."""
        while self._waiting:
            self._one_done()

    def _one_done(self) -> None:
        self._done.get()
        self._waiting -= 1
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            if not self._over and self._error is None:
                try:
                    work()
                except BaseException as error:  # it is raised where the caller waits
                    self._error = error
            self._done.put(None)
