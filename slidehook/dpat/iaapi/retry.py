"""When a call to DPAT is tried again, and how long is waited before that."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type

from slidehook.errors import DpatUnavailable

FIRST_WAIT_S = 0.2
WAIT_MOST_S = 5.0
RETRY_AFTER_MOST_S = 20.0
"""A longer `Retry-After` is not sat out: the call fails at once, and its job waits instead of its worker."""
_T = TypeVar("_T")


def growing_s(failed: int, chance: float) -> float:
    """Say how long to wait after `failed` tries (from 1): doubling, and spread by `chance` (0…1).

    The spread is from half the wait to one and a half of it.
    """
    return float(min(FIRST_WAIT_S * 2.0 ** min(failed - 1, 30), WAIT_MOST_S) * (0.5 + chance))


def asked_wait_s(retry_after: str | None, date: str | None = None) -> float:
    """Read `Retry-After`, seconds or an HTTP date, as seconds from now; 0 when there is none that can be read.

    A date is compared with the answer's own `date`, so that the two hosts' clocks need not agree.
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
    """How long a caller bears with DPAT: `tries` of each call, and nothing after `until` (of the monotonic clock).

    `sleep` waits for so many seconds; whatever it raises ends the call.
    """

    tries: int = 1
    until: float = math.inf
    sleep: Callable[[float], None] = time.sleep

    @classmethod
    def for_s(cls, within_s: float, tries: int, sleep: Callable[[float], None]) -> RetryPolicy:
        """Give a patience that ends `within_s` seconds from now."""
        return cls(tries, time.monotonic() + within_s, sleep)

    @property
    def left_s(self) -> float:
        """The seconds that are left, 0 at least."""
        return max(0.0, self.until - time.monotonic())

    def wait(self, failed: int) -> None:
        """Wait as after so many failed tries, but not beyond the end."""
        self.sleep(min(growing_s(failed, random.random()), self.left_s))  # noqa: S311 - spreads load, guards nothing

    def call(self, work: Callable[..., _T], *args: Any, **options: Any) -> _T:
        """Do `work`, and again as long as it raises DpatUnavailable and another try may help."""
        retrying = Retrying(
            retry=retry_if_exception_type(DpatUnavailable),
            wait=_wait_s,
            stop=self._is_over,
            sleep=self.sleep,
            reraise=True,
        )
        return retrying(work, *args, **options)

    def _is_over(self, state: RetryCallState) -> bool:
        return (
            state.attempt_number >= self.tries
            or _asked_s(state) > RETRY_AFTER_MOST_S
            or state.upcoming_sleep >= self.left_s
        )


def _wait_s(state: RetryCallState) -> float:
    # Also behind a time that DPAT named: whoever it told so would come back at once together.
    return _asked_s(state) + growing_s(state.attempt_number, random.random())  # noqa: S311


def _asked_s(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return error.retry_after_s if isinstance(error, DpatUnavailable) else 0.0
