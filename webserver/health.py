"""Whether this webserver can do its work: put a job into the queue now."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from slidehook.errors import QueueError

FRESH_S = 1.0
"""For how long what was found holds, in seconds: so any number of callers cost one look a second."""
PATIENCE_S = 1.5
"""How long a look may take, in seconds, until the queue counts as not answering, as a share that hangs."""


class Health:
    """Looks by `check`, which raises QueueError, at most once a second and in a thread of its own.

    Safe for several threads. Nobody waits for longer than `PATIENCE_S`.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._changed = threading.Condition()
        self._looking = False
        self._began = float("-inf")
        self._looked_at = float("-inf")
        self._fault = ""

    def check(self) -> None:
        """Raise QueueError, with a sentence, when no job can be put now."""
        with self._changed:
            if self._is_old() and not self._looking:
                self._looking = True
                self._began = time.monotonic()
                threading.Thread(target=self._look, name="health", daemon=True).start()
            if self._is_old():
                self._changed.wait_for(lambda: not self._is_old(), self._began + PATIENCE_S - time.monotonic())
            fault = "the queue directory does not answer" if self._is_old() else self._fault
        if fault:
            raise QueueError(fault)

    def _is_old(self) -> bool:
        return time.monotonic() - self._looked_at > FRESH_S

    def _look(self) -> None:
        fault = "the queue could not be tried"
        try:
            self._check()
            fault = ""
        except QueueError as error:
            fault = str(error)
        finally:
            with self._changed:
                self._fault, self._looked_at, self._looking = fault, time.monotonic(), False
                self._changed.notify_all()
