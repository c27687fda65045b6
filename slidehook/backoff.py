"""Waiting times between attempts at something that failed."""

from __future__ import annotations

import random
from dataclasses import dataclass

_DOUBLINGS_MOST = 60
"""More doublings exceed every cap in use, and a float would overflow after 1,023."""


@dataclass(frozen=True)
class Backoff:
    """An exponential back-off: `first_s` after the first failure, doubled by each further one, at most `most_s`.

    Each wait is a random time between 0.5 and 1.5 times that, so that callers that failed together do not retry
    together. With `spread=False` it is exact.
    """

    first_s: float
    most_s: float
    spread: bool = True

    def wait_s(self, failed: int, chance: float | None = None) -> float:
        """Return the wait in seconds after `failed` failures in a row (from 1); 0.0 after none.

        `chance` (0…1) is the position of the wait within the spread; None: random.
        """
        if failed < 1:
            return 0.0
        middle_s = min(self.first_s * 2.0 ** min(failed - 1, _DOUBLINGS_MOST), self.most_s)
        if not self.spread:
            return middle_s
        drawn = random.random() if chance is None else chance  # noqa: S311 - spreads load, guards nothing
        return middle_s * (0.5 + drawn)
