"""When a call to DPAT is retried, and after which delay."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from slidehook.backoff import Backoff
from slidehook.dpat.errors import DpatUnavailable

BACKOFF = Backoff(first_s=0.2, most_s=5.0)
MAX_RETRY_AFTER_S = 20.0
"""On a longer `Retry-After` the call fails at once, so that the job waits and not its worker."""
_T = TypeVar("_T")


def parse_retry_after(retry_after: str | None, date: str | None = None) -> float:
    """Parse `Retry-After`, seconds or an HTTP date, as seconds from now; 0 when it is missing or unreadable.

    A date is compared with the answer's own `date`, so the two hosts' clocks need not agree.
    """
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    try:
        now = parsedate_to_datetime(date or "").timestamp()
    except (ValueError, OverflowError):
        now = time.time()
    return max(0.0, until - now)


@dataclass(frozen=True)
class RetryPolicy:
    """The limits of a caller's retries: `tries` per call, and none after `until` (of the monotonic clock).

    `sleep` waits for the given seconds; an exception from it ends the call.
    """

    tries: int = 1
    until: float = math.inf
    sleep: Callable[[float], None] = time.sleep

    @classmethod
    def for_s(cls, within_s: float, tries: int, sleep: Callable[[float], None]) -> RetryPolicy:
        """Return a policy that ends `within_s` seconds from now."""
        return cls(tries, time.monotonic() + within_s, sleep)

    @property
    def left_s(self) -> float:
        """The remaining time in seconds, at least 0."""
        return max(0.0, self.until - time.monotonic())

    def wait(self, failed: int) -> None:
        """Wait as long as after `failed` failed tries, but not beyond the end."""
        self.sleep(min(BACKOFF.wait_s(failed), self.left_s))

    def call(self, work: Callable[..., _T], *args: Any, **options: Any) -> _T:
        """Call `work`, and retry on DpatUnavailable as long as the limits allow."""
        failed = 0
        while True:
            try:
                return work(*args, **options)
            except DpatUnavailable as error:
                failed += 1
                # Jitter follows even a Retry-After, because all clients that got the same one would return at once.
                wait_s = error.retry_after_s + BACKOFF.wait_s(failed)
                if failed >= self.tries or error.retry_after_s > MAX_RETRY_AFTER_S or wait_s >= self.left_s:
                    raise
            self.sleep(wait_s)
