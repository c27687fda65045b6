"""Times that the documents promise, held to wherever the machine could keep them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

IDLE_SHARE = 0.5
"""With so much of all processors' time left over, no program had to wait long for one."""


class ProcessorTime(NamedTuple):
    """What all processors together have spent since the machine started, in ticks."""

    total: int
    idle: int

    @classmethod
    def now(cls) -> ProcessorTime:
        """Read the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal, …"""
        spent = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return cls(sum(spent), spent[3])


class Promise:
    """A stopwatch, started when it is made: `assert_kept` when what was promised has come.

    The promised time counts where at least half of the processors' time was left over meanwhile; while other tests
    keep the machine busy, the longer limit does.
    """

    def __init__(self, promised_s: float, *, busy_s: float) -> None:
        self._promised_s, self._busy_s = promised_s, busy_s
        self._before = ProcessorTime.now()
        self._began = time.monotonic()

    def assert_kept(self) -> None:
        """Fail if it took longer than promised."""
        took_s = time.monotonic() - self._began
        after = ProcessorTime.now()
        spent = max(1, after.total - self._before.total)
        left_over = (after.idle - self._before.idle) / spent
        limit_s = self._promised_s if left_over >= IDLE_SHARE else self._busy_s
        assert took_s < limit_s, f"{took_s:.1f} s, with {left_over:.0%} of the processors' time left over"
