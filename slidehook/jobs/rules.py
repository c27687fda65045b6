"""What every backend of the queue does in the same way."""

from __future__ import annotations

from slidehook.backoff import Backoff
from slidehook.jobs.job import JobState

LIVE = (JobState.ACTIVE, JobState.ENDING, JobState.WAITING, JobState.PARKED)
"""The states of jobs that have not ended, in the order of a listing."""
LISTED = (*LIVE, JobState.FAILED, JobState.CANCELLED, JobState.DONE)
"""The states of all jobs that can be listed, in the order of a listing."""
RETRIABLE = frozenset({JobState.FAILED, JobState.PARKED})
"""The states from which an operator may let a job run again."""
NEVER_NS = 0xFFFF_FFFF_FFFF_FFFF
"""The waking time of a parked job that only a new request wakes."""
MAX_ALIASES = 64
"""How many names a job may have. A request that joins it beyond that can't cancel it by its own token."""
DEATH_BACKOFF = Backoff(first_s=2.0, most_s=300.0)
"""How long a job waits that has killed two workers or more."""


def death_of(claimer: str) -> str:
    """Return the sentence for a job's record when its claimer died; the claimer's name begins with its role."""
    role = claimer.partition("-")[0]
    kind = {"web": "webserver", "work": "worker"}.get(role, role)
    return f"the {kind} died"
