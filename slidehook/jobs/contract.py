"""The interface of a queue for webservers, workers and operators; `slidehook.jobs.factory` opens one."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydantic import JsonValue

from slidehook.errors import SlidehookError
from slidehook.jobs.job import Job, JobRecord, JobState

Role = Literal["web", "work", "admin"]
"""The role in which a process opens a queue."""


CancelNotifier = Callable[[JobRecord], bool]
"""Shows in its system that a job without a worker was cancelled; returns False when that is not possible now.

The job that it gets has the newest secret.
"""


Allow = Callable[[JobRecord], bool]
"""Returns whether the caller may stop a job, before anything is changed; an error that it raises ends the call.

False: the job belongs to somebody else.
"""


def allowed_already(record: JobRecord) -> bool:
    """Return True: the caller is already proven."""
    del record
    return True


def already_notified(record: JobRecord) -> bool:
    """Return True: the caller updates the slide itself, and the job ends at once."""
    del record
    return True


@dataclass(frozen=True)
class Cancelled:
    """A job that was stopped. `record`: the job, if this call ended it; None: its worker or the next one does."""

    job_id: str
    record: JobRecord | None


class Hold(Protocol):
    """A job that is durable but not yet claimable. `release`, or the death of its holder, makes it claimable."""

    @property
    def job(self) -> Job:
        """The job; of a coalesced request, the one that was there before."""

    @property
    def coalesced(self) -> bool:
        """Whether the same work was already queued or running. Then nothing is held."""

    def note(self, noted: dict[str, JsonValue]) -> None:
        """Store what a later attempt must find again; the newest counts. It is not fsynced."""

    def release(self) -> None:
        """Make the job claimable."""

    def withdraw(self) -> None:
        """Remove a job that was not acknowledged; it leaves no trace."""


class JobSink(Protocol):
    """The webserver's side of a queue."""

    def hold(self, job: Job, *, join: bool = True) -> Hold:
        """Make a job durable and keep it from workers, or join it to the same work if that is already there.

        Without `join`, the work that is already there does not change until `join` is called.
        """

    def join(self, job: Job) -> bool:
        """Add a request to the same work: its secret and its cancellation token count from now on.

        Returns False when the work is neither queued nor running. Call it only after the system has accepted the
        caller.
        """

    def peek(self, job: Job) -> JobRecord | None:
        """Return the record of the same work as `job`; None when it is neither queued nor running."""

    def is_held(self, job_id: str) -> bool:
        """Return whether the process that put a job still holds it, and may withdraw it."""

    def cancel(
        self,
        cancellation_key: str,
        *,
        secret: str | None = None,
        tell: CancelNotifier = already_notified,
        allow: Allow = allowed_already,
    ) -> Cancelled | None:
        """Stop the job of a cancellation token (its digest); returns None when no such job is queued or running.

        `allow` is called first; if it returns False, nothing happens and None is returned. No worker can claim a
        waiting job while `tell` runs. The job ends if `tell` returns True; otherwise a worker updates the slide as
        soon as it can. `secret`: a newer secret for that.
        """

    def stop_unwanted(
        self,
        concerns: Callable[[JobRecord], bool],
        reason: str,
        *,
        app_id: str,
        slide_id: str,
        key: str | None = None,
    ) -> list[str]:
        """Stop the live jobs of an app and a slide that `concerns` accepts; their systems are not told. Returns ids.

        `concerns` is asked for every job before the first is stopped; an error that it raises ends the call.
        `key`: the work's key, if only one job can be concerned; then no other job is read. Nobody joins a stopped
        job: a new request for the same work starts a job of its own. `reason` is recorded for an operator.
        """


class Claim(Protocol):
    """One attempt at one job. Every method that changes the job raises ClaimLost when another process has it."""

    @property
    def job(self) -> Job:
        """The job."""

    @property
    def record(self) -> JobRecord:
        """The job with its history before this claim."""

    @property
    def attempt(self) -> int:
        """The attempt's number, from 1."""

    @property
    def exhausted(self) -> bool:
        """Whether all attempts are used up: the app must not run again, and the job ends as failed."""

    @property
    def last_reason(self) -> str:
        """Why the attempt before this one ended without an outcome; empty when there was none."""

    def check(self) -> None:
        """Raise ClaimLost unless this worker still has the job; call it right before each change in the system."""

    def secret(self) -> str | None:
        """Return the newest secret for the job's system; None when the job has no secret any more."""

    def cancel_wanted(self) -> bool:
        """Return whether the job was cancelled, and the same work was not requested since."""

    def unwanted(self) -> bool:
        """Whether `stop_unwanted` stopped the job: it must end, and its system must not be told."""

    def note(self, noted: dict[str, JsonValue]) -> None:
        """Store what a later attempt must find again; the newest counts. It is not fsynced."""

    def retry(self, reason: str, delay_s: float, *, counted: bool = True, trace: str = "") -> None:
        """Give the job back: it can be claimed again after `delay_s` seconds.

        Without `counted`, this attempt does not count. `trace`: the app's traceback, for an operator.
        """

    def park(self, reason: str) -> None:
        """Give the job back: it waits until the same work is requested again. This attempt does not count.

        If the work was requested again since `secret` was called, the job can be claimed at once.
        """

    def give_back(self) -> None:
        """Let another worker have the job at once; this attempt does not count."""

    def finish(self, outcome: JobState, reason: str = "", seconds: float | None = None, *, trace: str = "") -> None:
        """End the job as done, failed or cancelled. `trace`: the app's traceback, for an operator."""


class JobSource(Protocol):
    """The worker's side of a queue."""

    def claim(self) -> Claim | None:
        """Claim the first job by priority and age, or one of a dead worker; returns None when there is no job."""

    def wait(self, timeout_s: float) -> None:
        """Return when there may be work, or after `timeout_s` seconds."""

    def unfinished(self) -> int:
        """Count the jobs that have not ended, without those that only a new request can wake."""

    def close(self) -> None:
        """Stop waiting for work, and give back what that needs."""


@dataclass(frozen=True)
class JobSummary:
    """One job in a listing. `made_at`: when it was made, in seconds since 1970."""

    job_id: str
    app_id: str
    state: JobState
    priority: int
    attempt: int
    made_at: float
    claimer: str | None = None
    wakes_at: float | None = None
    """When a parked job is woken; None: it waits for a new request, since it has no valid secret."""
    place: str = field(default="", repr=False, compare=False)
    """Where the queue finds the job again. Only the queue can read it."""


@dataclass(frozen=True)
class Purged:
    """How much a purge removed."""

    jobs: int
    leftovers: int
    """Half-written files, aliases, notes and locks of dead processes."""


class JobNotFound(SlidehookError):
    """The queue has no such job, or not in that place any more."""


class QueueAdmin(Protocol):
    """The operator's side of a queue. A job is named by its id, or by an unambiguous beginning of its id."""

    def counts(self) -> dict[JobState | str, int]:
        """Count the jobs of each state, and those that are `damaged`."""

    def list(
        self,
        states: tuple[JobState, ...] = ...,
        *,
        app_id: str | None = None,
        slide_id: str | None = None,
        limit: int | None = None,
    ) -> Iterator[JobSummary]:
        """List jobs: live ones in the order in which they run, ended ones from the newest; at most `limit`."""

    def workers(self) -> builtins.list[str]:
        """List the names of the running workers."""

    def read(self, summary: JobSummary) -> JobRecord:
        """Read a listed job; raises JobDamaged, and JobNotFound if its state has changed since."""

    def show(self, job_id: str) -> tuple[JobSummary, JobRecord]:
        """Read one job with its history; raises JobNotFound."""

    def retry(self, job_id: str) -> JobSummary:
        """Let a failed or parked job run again now, with all its attempts.

        Raises JobNotFound, IllegalTransition for another state or when the same work is queued already.
        """

    def cancel(self, job_id: str, *, tell: CancelNotifier = already_notified) -> Cancelled:
        """Stop a live job as `JobSink.cancel` does; raises JobNotFound, IllegalTransition when it has ended."""

    def purge(
        self,
        older_than_s: float,
        states: tuple[JobState, ...] = ...,
        *,
        app_id: str | None = None,
        slide_id: str | None = None,
    ) -> Purged:
        """Remove jobs that ended longer ago than that; raises ValueError on the state of a live job."""


class Liveness(Protocol):
    """Finds out which of the other processes on a queue are dead. For one thread."""

    def dead(self, claimers: set[str]) -> set[str]:
        """Return those of `claimers` that are dead for certain; a process on another host takes several calls."""


class Queue(Protocol):
    """A queue that one process has opened for one role. Thread-safe; raises QueueError."""

    @property
    def name(self) -> str:
        """The queue's name in a log, such as its directory."""

    @property
    def claimer_id(self) -> str:
        """This process's unique name in the queue."""

    def check(self) -> None:
        """Raise QueueError, with a sentence for the administrator, if the queue can't be used for the role."""

    def check_puttable(self) -> None:
        """Raise QueueError, with a sentence, unless a job can be put now."""

    def sink(self) -> JobSink:
        """Return the webserver's side."""

    def source(self, *, max_attempts: int, apps: frozenset[str] | None = None) -> JobSource:
        """Return the worker's side. `apps`: the ids of the apps that this worker can run; None: all."""

    def admin(self) -> QueueAdmin:
        """Return the operator's side."""

    def liveness(self) -> Liveness:
        """Return a new monitor of the other processes."""

    def close(self) -> None:
        """Leave the queue: this process's jobs can be claimed by others."""
