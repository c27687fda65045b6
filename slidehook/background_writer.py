"""Does work in a second thread, so that writing to the disk does not delay reading from the network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import Self

AHEAD = 8
"""The most pieces of work that may wait; each occupies memory."""


class BackgroundWriter:
    """One thread that does its work in order; a `with` block ends it.

    After a piece of work has raised an error, the remaining ones are skipped, and the caller gets that error from
    the next `do`, or from `finish`. If the block ends with an error, the remaining work is skipped too.
    """

    def __init__(self) -> None:
        # Both are written in C: an exception raised by a signal in the caller leaves none of their locks held.
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
        """End the thread after its current piece of work."""
        self._over = True
        self._work.put(None)
        self._thread.join()

    def do(self, work: Callable[[], None]) -> None:
        """Queue `work`; blocks while too much is waiting."""
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
