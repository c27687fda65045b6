"""The log of received IA-API calls, with a way to wait for their effects."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

KEPT_CALLS = 100_000


@dataclass(frozen=True)
class Call:
    """One call: `status` is None when it got no answer; `bytes_sent` counts only the body."""

    at: float
    method: str
    path: str
    query: str
    status: int | None
    seconds: float
    bytes_sent: int

    def to_json(self) -> dict[str, Any]:
        """Return the call's JSON for /sim; `at` in seconds since 1970."""
        return {
            "at": self.at,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "status": self.status,
            "seconds": round(self.seconds, 4),
            "bytes": self.bytes_sent,
        }


class CallLog:
    """The latest calls, oldest first. A call is logged before the last byte of its answer is sent."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: deque[Call] = deque(maxlen=KEPT_CALLS)
        self._added = 0

    def add(self, call: Call) -> None:
        """Log a call and wake the waiting threads."""
        with self._changed:
            self._calls.append(call)
            self._added += 1
            self._changed.notify_all()

    def all(self) -> list[Call]:
        """Return the calls, oldest first."""
        with self._changed:
            return list(self._calls)

    def clear(self) -> None:
        """Clear the log."""
        with self._changed:
            self._calls.clear()

    def wait_until(self, predicate: Callable[[], bool], timeout_s: float) -> bool:
        """Evaluate `predicate` now and after each call; returns False if it was never true within `timeout_s`.

        No lock is held meanwhile, so it may call the simulator.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            with self._changed:
                seen = self._added
            if predicate():
                return True
            with self._changed:
                while self._added == seen:
                    left_s = deadline - time.monotonic()
                    if left_s <= 0:
                        return False
                    self._changed.wait(left_s)
