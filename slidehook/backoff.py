"""How long to wait before something that failed is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass

_DOUBLINGS_MOST = 60
"""More doublings change nothing below any cap of ours, and a float would overflow after 1,023."""


@dataclass(frozen=True)
class Backoff:
    """An exponential back-off: `first_s` after the first failure, doubled by each further one, `most_s` at most.

    Each wait is spread between half of that time and one and a half of it, so that those who failed together do not
    come back together. With `spread=False` it is exact.
    """

    first_s: float
    most_s: float
    spread: bool = True

    def wait_s(self, failed: int, chance: float | None = None) -> float:
        """Return the wait in seconds after `failed` failures in a row (from 1); 0.0 after none.

        `chance` (0…1) places the wait within the spread; None draws it.
        """
        if failed < 1:
            return 0.0
        middle_s = min(self.first_s * 2.0 ** min(failed - 1, _DOUBLINGS_MOST), self.most_s)
        if not self.spread:
            return middle_s
        drawn = random.random() if chance is None else chance  # noqa: S311 - spreads load, guards nothing
        return middle_s * (0.5 + drawn)
