"""The names of job files. Claims and listings need only the name, so that no file is opened."""

from __future__ import annotations

import re
from typing import NamedTuple

from slidehook.jobs.job import ENDED, JobState
from slidehook.jobs.rules import NEVER_NS

_CORE = r"(?P<id>[0-9a-f]{16}-[0-9a-f]{8})\.p(?P<priority>[0-9])\.(?P<app>[a-z0-9-]{1,64})\.a(?P<attempt>[0-9]{1,6})"
_NAMES = {
    JobState.WAITING: re.compile(_CORE),
    JobState.ACTIVE: re.compile(_CORE + r"\.(?P<claimer>[a-z0-9-]{1,96})"),
    JobState.PARKED: re.compile(r"(?P<wake>[0-9a-f]{16})\." + _CORE),
    JobState.ENDING: re.compile(_CORE + r"\.(?P<claimer>[a-z0-9-]{1,96})\.(?P<outcome>done|failed|cancelled)"),
    **dict.fromkeys(ENDED, re.compile(_CORE)),
}


class JobName(NamedTuple):
    """A job file's name taken apart. `attempt` counts the claims by workers; `wake_ns` is ns since 1970.

    A tuple, since a put and a claim make several each, at a third of a dataclass's cost.
    """

    state: JobState
    job_id: str
    priority: int
    app_id: str
    attempt: int
    claimer: str | None = None
    outcome: JobState | None = None
    wake_ns: int | None = None

    @staticmethod
    def is_one(state: JobState, name: str) -> bool:
        """Return whether a file is ours, at a fifth of the cost of `parse`."""
        return _NAMES[state].fullmatch(name) is not None

    @classmethod
    def parse(cls, state: JobState, name: str) -> JobName | None:
        """Take a name apart; None for a file that is not ours."""
        match = _NAMES[state].fullmatch(name)
        if match is None:
            return None
        job_id, priority, app, attempt = match["id"], int(match["priority"]), match["app"], int(match["attempt"])
        if state is JobState.PARKED:
            return cls(state, job_id, priority, app, attempt, wake_ns=int(match["wake"], 16))
        if state is JobState.ACTIVE:
            return cls(state, job_id, priority, app, attempt, match["claimer"])
        if state is JobState.ENDING:
            return cls(state, job_id, priority, app, attempt, match["claimer"], JobState(match["outcome"]))
        return cls(state, job_id, priority, app, attempt)

    def __str__(self) -> str:
        core = f"{self.job_id}.p{self.priority}.{self.app_id}.a{self.attempt}"
        if self.state is JobState.ACTIVE:
            return f"{core}.{self.claimer}"
        if self.state is JobState.ENDING:
            return f"{core}.{self.claimer}.{self.outcome}"
        if self.state is JobState.PARKED:
            return f"{self.wake_ns:016x}.{core}"
        return core

    @property
    def age(self) -> str:
        """The time of the job's making, as the id begins with it; sorts by age."""
        return self.job_id[:16]

    @property
    def made_at(self) -> float:
        """When the job was made, in seconds since 1970."""
        return int(self.job_id[:16], 16) / 1e9

    def waiting(self, *, attempt: int | None = None) -> JobName:
        """Return the name that the job waits under."""
        return self._as(JobState.WAITING, attempt)

    def active(self, claimer: str, attempt: int) -> JobName:
        """Return the name under which `claimer` works on the job."""
        return JobName(JobState.ACTIVE, self.job_id, self.priority, self.app_id, attempt, claimer)

    def parked(self, wake_ns: int, *, attempt: int | None = None) -> JobName:
        """Return the name under which the job sleeps until `wake_ns`."""
        number = self.attempt if attempt is None else attempt
        wake_ns = max(0, min(wake_ns, NEVER_NS))
        return JobName(JobState.PARKED, self.job_id, self.priority, self.app_id, number, wake_ns=wake_ns)

    def ending(self, claimer: str, outcome: JobState) -> JobName:
        """Return the name under which `claimer` brings the job to its end."""
        return JobName(JobState.ENDING, self.job_id, self.priority, self.app_id, self.attempt, claimer, outcome)

    def ended(self) -> JobName:
        """Return the name under which an ending job rests; raises ValueError on one that is not ending."""
        if self.outcome is None:
            raise ValueError(f"{self} is not ending")
        return self._as(self.outcome, None)

    def _as(self, state: JobState, attempt: int | None) -> JobName:
        number = self.attempt if attempt is None else attempt
        return JobName(state, self.job_id, self.priority, self.app_id, number)
