"""Jobs and clocks for the tests of the queue."""

from __future__ import annotations

import itertools
import time

from slidehook.jobs.job import Job, Trigger, new_job_id
from slidehook.models import Input, WholeSlideInput

NS = 1_000_000_000
DAY_S = 86400.0
DPAT = "https://dpat.example/ia"
TOKEN = "token-1"
_ages = itertools.count(1)


class Clock:
    """A clock that the test moves, in ns since 1970; it begins now, since files bear the kernel's time."""

    def __init__(self) -> None:
        self.now_ns = time.time_ns()

    def __call__(self) -> int:
        return self.now_ns

    def move(self, seconds: float) -> None:
        self.now_ns += round(seconds * NS)


def make_job(
    slide_id: str | None = None,
    *,
    app_id: str = "tissue-area",
    priority: int = 5,
    made_ns: int | None = None,
    work: Input | None = None,
    dpat: str = DPAT,
    cancellation_key: str | None = None,
    token: str = TOKEN,
    trigger: Trigger = "user",
) -> Job:
    """Make a job, younger than those made before, for a slide of its own unless `slide_id` names one."""
    number = next(_ages)
    made_ns = time.time_ns() + number if made_ns is None else made_ns
    return Job(
        id=new_job_id(made_ns),
        app_id=app_id,
        slide_id=slide_id or f"S-{number}",
        priority=priority,
        created_at=made_ns / NS,
        trigger=trigger,
        input=work or WholeSlideInput(),
        system="dpat",
        address=dpat,
        cancellation_key=cancellation_key,
        secret=token,
    )
