"""The names of job files. All that a claim or a listing decides by stands in the name, so nothing is opened."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from slidehook.jobs.job import ENDED, JobState

_CORE = r"(?P<id>[0-9a-f]{16}-[0-9a-f]{8})\.p(?P<priority>\d)\.(?P<app>[a-z0-9-]{1,64})\.a(?P<attempt>\d{1,6})"
_NAMES = {
    JobState.WAITING: re.compile(_CORE),
    JobState.ACTIVE: re.compile(_CORE + r"\.(?P<claimer>[a-z0-9-]{1,96})"),
    JobState.PARKED: re.compile(r"(?P<wake>[0-9a-f]{16})\." + _CORE),
    JobState.ENDING: re.compile(_CORE + r"\.(?P<claimer>[a-z0-9-]{1,96})\.(?P<outcome>done|failed|cancelled)"),
    **dict.fromkeys(ENDED, re.compile(_CORE)),
}
NEVER_NS = 0xFFFF_FFFF_FFFF_FFFF
"""The waking time of a job that waits for something else than time."""


@dataclass(frozen=True)
class JobName:
    """A job file's name taken apart. `attempt` counts the claims by workers; `wake_ns` is ns since 1970."""

    state: JobState
    job_id: str
    priority: int
    app_id: str
    attempt: int
    claimer: str | None = None
    outcome: JobState | None = None
    wake_ns: int | None = None

    @classmethod
    def parse(cls, state: JobState, name: str) -> JobName | None:
        """Take a name apart; None for a file that is not ours."""
        match = _NAMES[state].fullmatch(name)
        if match is None:
            return None
        parts = match.groupdict()
        return cls(
            state=state,
            job_id=parts["id"],
            priority=int(parts["priority"]),
            app_id=parts["app"],
            attempt=int(parts["attempt"]),
            claimer=parts.get("claimer"),
            outcome=JobState(parts["outcome"]) if parts.get("outcome") else None,
            wake_ns=int(parts["wake"], 16) if parts.get("wake") else None,
        )

    def __str__(self) -> str:
        core = f"{self.job_id}.p{self.priority}.{self.app_id}.a{self.attempt}"
        if self.state is JobState.ACTIVE:
            return f"{core}.{self.claimer}"
        if self.state is JobState.ENDING:
            return f"{core}.{self.claimer}.{self.outcome}"
        if self.state is JobState.PARKED:
            return f"{self.wake_ns:016x}.{core}"
        return core

    def waiting(self) -> JobName:
        """Give the name that the job waits under."""
        return replace(self, state=JobState.WAITING, claimer=None, outcome=None, wake_ns=None)

    def active(self, claimer: str, attempt: int) -> JobName:
        """Give the name under which `claimer` works on the job."""
        return replace(self, state=JobState.ACTIVE, claimer=claimer, attempt=attempt, outcome=None, wake_ns=None)

    def parked(self, wake_ns: int) -> JobName:
        """Give the name under which the job sleeps until `wake_ns`."""
        return replace(self, state=JobState.PARKED, claimer=None, wake_ns=min(wake_ns, NEVER_NS))

    def ending(self, claimer: str, outcome: JobState) -> JobName:
        """Give the name under which `claimer` brings the job to its end."""
        return replace(self, state=JobState.ENDING, claimer=claimer, outcome=outcome)

    def ended(self) -> JobName:
        """Give the name under which an ending job rests; raises ValueError on one that is not ending."""
        if self.outcome is None:
            raise ValueError(f"{self} is not ending")
        return replace(self, state=self.outcome, claimer=None, outcome=None)
