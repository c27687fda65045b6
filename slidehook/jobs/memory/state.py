"""The jobs of a queue in memory, and the ways from state to state."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Condition

from slidehook.jobs.contract import Cancelled, CancelNotifier, JobSummary
from slidehook.jobs.job import (
    BLANK,
    ENDED,
    AttemptEnded,
    Ended,
    Event,
    Job,
    JobRecord,
    JobState,
    check_transition,
)
from slidehook.jobs.rules import DEATH_BACKOFF, NEVER_NS, death_of


@dataclass(eq=False)
class Entry:
    """A job in the queue. `hand` identifies the process that has it: a new object with each claim."""

    job: Job
    state: JobState
    attempt: int = 0
    owner: str | None = None
    hand: object = None
    wake_ns: int | None = None
    events: list[Event] = field(default_factory=list)
    secret: str | None = None
    """The secret of the last of the later requests for the same work."""
    secrets_came: int = 0
    cancel_wanted: bool = False
    unwanted: bool = False
    ended_ns: int = 0

    @property
    def order(self) -> tuple[int, str]:
        """The place in the line: by priority, then by age."""
        return self.job.priority, self.job.id

    @property
    def record(self) -> JobRecord:
        """The job with what has happened to it."""
        return JobRecord.model_construct(job=self.job, events=list(self.events))

    def take_secret(self, secret: str) -> None:
        """Use a later request's secret from now on."""
        self.secret = secret
        self.secrets_came += 1

    def move(self, state: JobState, *, owner: str | None = None, wake_ns: int | None = None) -> None:
        """Change the state; the former holder or worker loses the job."""
        check_transition(self.state, state)
        self.state, self.owner, self.wake_ns = state, owner, wake_ns
        self.hand = object() if owner else None

    def summary(self) -> JobSummary:
        """Return the job's line in a listing."""
        wakes_at = None if self.wake_ns in {None, NEVER_NS} else (self.wake_ns or 0) / 1e9
        made_at = int(self.job.id[:16], 16) / 1e9
        job = self.job
        return JobSummary(
            job.id, job.app_id, self.state, job.priority, self.attempt, made_at, self.owner, wakes_at
        )  # fmt: skip


class MemoryState:
    """What all parties of a queue in memory share. Hold `changed` for every call. `clock` returns ns since 1970."""

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self.clock = clock
        self.changed = Condition()
        """Guards everything below; notified whenever there may be work."""
        self.changes = 0
        self.entries: dict[str, Entry] = {}
        self.aliases: dict[str, Entry] = {}
        """Live jobs by what they are asked for with: the work's key, and cancellation tokens' digests."""
        self.dead: set[str] = set()
        """The names of the parties whose process is gone."""
        self.workers: set[str] = set()
        """The names of all parties that claim, the dead ones too."""

    def woken(self) -> None:
        """Tell the waiting workers that there may be work."""
        self.changes += 1
        self.changed.notify_all()

    def to_waiting(self, entry: Entry, attempt: int | None = None) -> None:
        """Let anybody claim a job."""
        entry.move(JobState.WAITING)
        entry.attempt = entry.attempt if attempt is None else attempt
        self.woken()

    def to_parked(self, entry: Entry, wake_ns: int, attempt: int | None = None) -> None:
        """Let a job sleep until `wake_ns`."""
        entry.move(JobState.PARKED, wake_ns=wake_ns)
        entry.attempt = entry.attempt if attempt is None else attempt
        self.woken()

    def note_attempt_ended(self, entry: Entry, reason: str, claimer: str | None = None, trace: str = "") -> None:
        """Note why an attempt ended without an outcome, and whose it was where that claimer is gone."""
        at = self.clock() / 1e9
        ended = AttemptEnded(at=at, attempt=entry.attempt, reason=reason, claimer=claimer, trace=trace)
        entry.events.append(ended)

    def finish(self, entry: Entry, outcome: JobState, reason: str, seconds: float | None, trace: str = "") -> None:
        """End an active job; raises ValueError on a state that is no end."""
        if outcome not in ENDED:
            raise ValueError(f"a job that is {entry.state} can't end as {outcome}")
        values = {"at": self.clock() / 1e9, "attempt": entry.attempt, "outcome": outcome, "reason": reason}
        ended = Ended.model_validate(values | {"seconds": seconds, "trace": trace})
        entry.move(JobState.ENDING, owner=entry.owner)
        entry.move(outcome)
        entry.events.append(ended)
        entry.ended_ns = self.clock()
        entry.job = entry.job.model_copy(update={"secret": BLANK * len(entry.job.secret)})
        entry.secret, entry.cancel_wanted, entry.unwanted = None, False, False
        self.forget(entry)

    def forget(self, entry: Entry) -> None:
        """Drop a job's aliases."""
        self.aliases = {key: each for key, each in self.aliases.items() if each is not entry}

    def take(self, entry: Entry, party: str) -> bool:
        """Take a job from the workers where it waits; False where somebody works on it."""
        if entry.state is JobState.ACTIVE:
            return False
        if entry.state is JobState.PARKED:
            entry.move(JobState.WAITING)
        entry.move(JobState.ACTIVE, owner=party)
        return True

    def cancel(self, entry: Entry, reason: str, party: str, secret: str | None, tell: CancelNotifier) -> Cancelled:
        """Stop a live job: at once where it waits, by a word to its worker where it runs."""
        if secret is not None:
            entry.take_secret(secret)
        entry.cancel_wanted = True
        if not self.take(entry, party):
            return Cancelled(entry.job.id, None)
        record, told = entry.record, False
        if entry.secret is not None:
            record.job = entry.job.model_copy(update={"secret": entry.secret})
        try:
            told = tell(record)
        finally:
            if not told:
                self.to_waiting(entry)
        if told:
            self.finish(entry, JobState.CANCELLED, reason, None)
        return Cancelled(entry.job.id, record if told else None)

    def wake_parked(self) -> None:
        """Let the parked jobs whose time has come wait again."""
        now_ns = self.clock()
        for entry in self.entries.values():
            if entry.state is JobState.PARKED and entry.wake_ns is not None and entry.wake_ns <= now_ns:
                entry.move(JobState.WAITING)

    def take_over(self, mine: str) -> None:
        """Bring back what the dead left."""
        for entry in self.entries.values():
            if entry.state is not JobState.ACTIVE or entry.owner is None or entry.owner not in self.dead:
                continue
            dead = entry.owner
            entry.move(JobState.ACTIVE, owner=mine)
            self.note_attempt_ended(entry, death_of(dead), dead)
            wait_s = DEATH_BACKOFF.wait_s(entry.attempt - 1)
            if wait_s > 0:
                self.to_parked(entry, self.clock() + round(wait_s * 1e9))
            else:
                self.to_waiting(entry)
