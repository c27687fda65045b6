"""The health check: whether this webserver can put a job into the queue now."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from slidehook.errors import QueueError

FRESH_S = 1.0
"""How long a check's outcome is valid, in seconds, so that any number of callers cause one check per second."""
TIMEOUT_S = 1.5
"""The time limit of a check, in seconds, after which the queue counts as not responding, as on a share that hangs."""


class Health:
    """Runs `check`, which may raise QueueError, at most once a second in its own thread.

    Thread-safe. No caller waits longer than `TIMEOUT_S`.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._changed = threading.Condition()
        self._checking = False
        self._started = float("-inf")
        self._checked_at = float("-inf")
        self._fault = ""

    def check(self) -> None:
        """Raise QueueError, with one sentence, when no job can be put now."""
        with self._changed:
            if self._is_stale() and not self._checking:
                self._checking = True
                self._started = time.monotonic()
                threading.Thread(target=self._run_check, name="health", daemon=True).start()
            if self._is_stale():
                self._changed.wait_for(lambda: not self._is_stale(), self._started + TIMEOUT_S - time.monotonic())
            fault = "the queue directory does not respond" if self._is_stale() else self._fault
        if fault:
            raise QueueError(fault)

    def _is_stale(self) -> bool:
        return time.monotonic() - self._checked_at > FRESH_S

    def _run_check(self) -> None:
        fault = "the queue could not be checked"
        try:
            self._check()
            fault = ""
        except QueueError as error:
            fault = str(error)
        finally:
            with self._changed:
                self._fault, self._checked_at, self._checking = fault, time.monotonic(), False
                self._changed.notify_all()
