"""A queue in memory: for the tests of whoever writes an app, a worker or a webserver. Nothing outlives the process.

It does what the queue on disk does (one contract suite runs on both), without a folder, a lock or a wait:

    queue = MemoryQueue()
    queue.sink().hold(job).release()
    claim = queue.source().claim()

`crash` plays the death of a process, and a `clock` of the test's own lets time pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Condition

from pydantic import JsonValue

from slidehook.errors import ClaimLost, QueueError
from slidehook.jobs.contract import (
    Allow,
    Cancelled,
    CancelNotifier,
    JobSummary,
    allowed_already,
    already_notified,
)
from slidehook.jobs.files.admin import LIVE
from slidehook.jobs.files.aliases import MOST_NAMES
from slidehook.jobs.files.names import NEVER_NS
from slidehook.jobs.files.source import DEATH_BACKOFF, death_of
from slidehook.jobs.job import (
    BLANK,
    ENDED,
    AttemptEnded,
    Ended,
    Event,
    Job,
    JobRecord,
    JobState,
    Noted,
    check_transition,
)
from slidehook.jobs.memory_admin import MemoryQueueAdmin


@dataclass(eq=False)
class _Entry:
    """A job in the queue. Whoever has it in hand bears `hand`: a new one with each claim."""

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
        return self.job.priority, self.job.id

    @property
    def record(self) -> JobRecord:
        return JobRecord.model_construct(job=self.job, events=list(self.events))

    def take_secret(self, secret: str) -> None:
        """Use a later request's secret from now on."""
        self.secret = secret
        self.secrets_came += 1

    def move(self, state: JobState, *, owner: str | None = None, wake_ns: int | None = None) -> None:
        """Change the state; whoever had the job in hand has it no more."""
        check_transition(self.state, state)
        self.state, self.owner, self.wake_ns = state, owner, wake_ns
        self.hand = object() if owner else None

    def summary(self) -> JobSummary:
        wakes_at = None if self.wake_ns in {None, NEVER_NS} else (self.wake_ns or 0) / 1e9
        made_at = int(self.job.id[:16], 16) / 1e9
        job = self.job
        return JobSummary(
            job.id, job.app_id, self.state, job.priority, self.attempt, made_at, self.owner, wakes_at
        )  # fmt: skip


class MemoryQueue:
    """A queue of one process, safe for several threads. `clock` gives ns since 1970."""

    def __init__(self, *, clock: Callable[[], int] = time.time_ns) -> None:
        self.clock = clock
        self.changed = Condition()
        """Guards everything below; notified whenever there may be work."""
        self.changes = 0
        self.entries: dict[str, _Entry] = {}
        self.aliases: dict[str, _Entry] = {}
        """Live jobs by what they are asked for with: the work's key, and cancellation tokens' digests."""
        self._parties = 0
        self._dead: set[str] = set()

    def sink(self, role: str = "web") -> MemorySink:
        """Give the queue as one more webserver sees it."""
        return MemorySink(self, self._party(role))

    def source(self, *, max_attempts: int = 3, apps: frozenset[str] | None = None) -> MemorySource:
        """Give the queue as one more worker sees it, which runs `apps` only (None: all)."""
        return MemorySource(self, self._party("work"), max_attempts, apps)

    def admin(self) -> MemoryQueueAdmin:
        """Give the queue as an operator sees it."""
        return MemoryQueueAdmin(self, self._party("cli"))

    def crash(self, party: MemorySink | MemorySource) -> None:
        """Play that `party`'s process is dead: what it holds or works on goes to others."""
        with self.changed:
            self._dead.add(party.id)
            self.woken()

    def _party(self, role: str) -> str:
        with self.changed:
            self._parties += 1
            return f"{role}-{self._parties}"

    # --- What follows is for this module, and wants `changed` to be held.

    def woken(self) -> None:
        """Tell the waiting workers that there may be work."""
        self.changes += 1
        self.changed.notify_all()

    def to_waiting(self, entry: _Entry, attempt: int | None = None) -> None:
        """Let anybody claim a job."""
        entry.move(JobState.WAITING)
        entry.attempt = entry.attempt if attempt is None else attempt
        self.woken()

    def to_parked(self, entry: _Entry, wake_ns: int, attempt: int | None = None) -> None:
        """Let a job sleep until `wake_ns`."""
        entry.move(JobState.PARKED, wake_ns=wake_ns)
        entry.attempt = entry.attempt if attempt is None else attempt
        self.woken()

    def note_attempt_ended(self, entry: _Entry, reason: str, claimer: str | None = None, trace: str = "") -> None:
        """Note why an attempt ended without an outcome, and whose it was where that claimer is gone."""
        at = self.clock() / 1e9
        ended = AttemptEnded(at=at, attempt=entry.attempt, reason=reason, claimer=claimer, trace=trace)
        entry.events.append(ended)

    def finish(self, entry: _Entry, outcome: JobState, reason: str, seconds: float | None, trace: str = "") -> None:
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

    def forget(self, entry: _Entry) -> None:
        """Drop a job's aliases."""
        self.aliases = {key: each for key, each in self.aliases.items() if each is not entry}

    def take(self, entry: _Entry, party: str) -> bool:
        """Take a job from the workers where it waits; False where somebody works on it."""
        if entry.state is JobState.ACTIVE:
            return False
        if entry.state is JobState.PARKED:
            entry.move(JobState.WAITING)
        entry.move(JobState.ACTIVE, owner=party)
        return True

    def cancel(self, entry: _Entry, reason: str, party: str, secret: str | None, tell: CancelNotifier) -> Cancelled:
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
            if entry.state is not JobState.ACTIVE or entry.owner is None or entry.owner not in self._dead:
                continue
            dead = entry.owner
            entry.move(JobState.ACTIVE, owner=mine)
            self.note_attempt_ended(entry, death_of(dead), dead)
            wait_s = DEATH_BACKOFF.wait_s(entry.attempt - 1)
            if wait_s > 0:
                self.to_parked(entry, self.clock() + round(wait_s * 1e9))
            else:
                self.to_waiting(entry)


class MemorySink:
    """The queue as a webserver sees it. See `slidehook.jobs.contract.JobSink`."""

    def __init__(self, queue: MemoryQueue, party: str) -> None:
        self._queue = queue
        self.id = party

    def hold(self, job: Job, *, join: bool = True) -> MemoryHold:
        """Keep a job from workers, or join it to the same work already there, unless that is done by `join`."""
        queue = self._queue
        with queue.changed:
            twin = queue.aliases.get(job.key)
            if twin is not None:
                if join:
                    self._join(twin, job)
                return MemoryHold(queue, twin, None)
            entry = _Entry(job, JobState.ACTIVE, owner=self.id, hand=object())
            queue.entries[job.id] = queue.aliases[job.key] = entry
            if job.cancellation_key:
                queue.aliases.setdefault(job.cancellation_key, entry)
            return MemoryHold(queue, entry, entry.hand)

    def join(self, job: Job) -> bool:
        """Let the work that `job` asks for profit from it; False when no such work is queued or running."""
        with self._queue.changed:
            twin = self._queue.aliases.get(job.key)
            if twin is not None:
                self._join(twin, job)
            return twin is not None

    def _join(self, twin: _Entry, newer: Job) -> None:
        twin.take_secret(newer.secret)
        twin.cancel_wanted = False
        names = sum(each is twin for each in self._queue.aliases.values()) + 1
        if newer.cancellation_key and names < MOST_NAMES:
            self._queue.aliases.setdefault(newer.cancellation_key, twin)
        if twin.state is JobState.PARKED and twin.wake_ns == NEVER_NS:
            self._queue.to_waiting(twin)

    def peek(self, job: Job) -> JobRecord | None:
        """Read what has happened to the work that `job` asks for; None when none is queued or running."""
        with self._queue.changed:
            entry = self._queue.aliases.get(job.key)
            return entry.record if entry else None

    def is_held(self, job_id: str) -> bool:
        """Say whether whoever put a job still keeps it from workers, and may yet take it back."""
        with self._queue.changed:
            entry = self._queue.entries.get(job_id)
            return entry is not None and entry.state is JobState.ACTIVE and entry.attempt == 0

    def cancel(
        self,
        cancellation_key: str,
        *,
        secret: str | None = None,
        tell: CancelNotifier = already_notified,
        allow: Allow = allowed_already,
    ) -> Cancelled | None:
        """Stop the job of a cancellation token (its digest); None when no such job is queued or running."""
        with self._queue.changed:
            entry = self._queue.aliases.get(cancellation_key)
            if entry is None or not allow(entry.record):
                return None
            return self._queue.cancel(entry, "cancelled", self.id, secret, tell)

    def stop_unwanted(
        self,
        concerns: Callable[[JobRecord], bool],
        reason: str,
        *,
        app_id: str,
        slide_id: str,
        key: str | None = None,
    ) -> list[str]:
        """Stop the live jobs that `concerns` accepts; their systems are not told. Returns their ids."""
        queue, stopped = self._queue, []
        with queue.changed:
            live = [
                each
                for each in queue.entries.values()
                if each.state in LIVE
                and (each.job.app_id, each.job.slide_id) == (app_id, slide_id)
                and (key is None or each.job.key == key)
            ]
            for entry in [each for each in live if concerns(each.record)]:
                entry.unwanted = True
                queue.aliases.pop(entry.job.key, None)
                if queue.take(entry, self.id):
                    queue.finish(entry, JobState.CANCELLED, reason, None)
                stopped.append(entry.job.id)
        return stopped


class _InHand:
    """A job that somebody holds or works on, as long as nobody else does."""

    def __init__(self, queue: MemoryQueue, entry: _Entry, hand: object) -> None:
        self._queue = queue
        self._entry = entry
        self._hand = hand

    def _own(self) -> _Entry:
        if self._entry.hand is not self._hand:
            job_id, attempt = self._entry.job.id, self._entry.attempt
            raise ClaimLost(f"job {job_id} is no longer this process's own (attempt {attempt})")
        return self._entry

    def note(self, noted: dict[str, JsonValue]) -> None:
        """Store what a later attempt must find again; raises ClaimLost."""
        with self._queue.changed:
            entry, at = self._own(), self._queue.clock() / 1e9
            entry.events.append(Noted(at=at, attempt=entry.attempt, noted=noted))


class MemoryHold(_InHand):
    """See `slidehook.jobs.contract.Hold`."""

    def __init__(self, queue: MemoryQueue, entry: _Entry, hand: object) -> None:
        super().__init__(queue, entry, hand)
        self.job = entry.job

    @property
    def coalesced(self) -> bool:
        """Whether the same work was queued or running already."""
        return self._hand is None

    def _own(self) -> _Entry:
        if self._hand is None:
            raise QueueError("a coalesced job is not held")
        return super()._own()

    def release(self) -> None:
        """Make the job claimable; raises ClaimLost."""
        with self._queue.changed:
            self._queue.to_waiting(self._own())

    def withdraw(self) -> None:
        """Take back a job that was not acknowledged: it leaves no trace. Raises ClaimLost."""
        with self._queue.changed:
            entry = self._own()
            entry.move(JobState.WITHDRAWN)
            self._queue.forget(entry)
            del self._queue.entries[entry.job.id]


class MemorySource:
    """The queue as a worker sees it. See `slidehook.jobs.contract.JobSource`."""

    def __init__(self, queue: MemoryQueue, party: str, max_attempts: int, apps: frozenset[str] | None) -> None:
        self._queue = queue
        self.id = party
        self._max_attempts = max_attempts
        self._apps = apps
        self._seen = -1

    def claim(self) -> MemoryClaim | None:
        """Take the first job by priority and age, or a dead worker's; None when there is none."""
        queue = self._queue
        with queue.changed:
            queue.wake_parked()
            queue.take_over(self.id)
            self._seen = queue.changes
            waiting = (
                each
                for each in queue.entries.values()
                if each.state is JobState.WAITING and (self._apps is None or each.job.app_id in self._apps)
            )
            entry = min(waiting, key=lambda each: each.order, default=None)
            if entry is None:
                return None
            entry.move(JobState.ACTIVE, owner=self.id)
            entry.attempt += 1
            return MemoryClaim(queue, entry, self._max_attempts)

    def wait(self, timeout_s: float) -> None:
        """Return when there may be work, or after `timeout_s` seconds."""
        queue = self._queue
        with queue.changed:
            wakes = [each.wake_ns for each in queue.entries.values() if each.wake_ns is not None]
            if wakes:
                timeout_s = min(timeout_s, max(0.0, (min(wakes) - queue.clock()) / 1e9))
            queue.changed.wait_for(lambda: queue.changes != self._seen, timeout_s)

    def unfinished(self) -> int:
        """Count the jobs that have not ended, but for those that only a new request can wake."""
        with self._queue.changed:
            return sum(each.state in LIVE and each.wake_ns != NEVER_NS for each in self._queue.entries.values())


class MemoryClaim(_InHand):
    """See `slidehook.jobs.contract.Claim`."""

    def __init__(self, queue: MemoryQueue, entry: _Entry, max_attempts: int) -> None:
        super().__init__(queue, entry, entry.hand)
        self.record = entry.record
        self.attempt = entry.attempt
        self.exhausted = entry.attempt > max_attempts
        self._secrets_seen = 0

    @property
    def job(self) -> Job:
        """The job."""
        return self.record.job

    @property
    def last_reason(self) -> str:
        """Why the attempt before this one ended without an outcome; empty when there was none."""
        ended = [each.reason for each in self.record.events if isinstance(each, AttemptEnded)]
        return ended[-1] if ended else ""

    def check(self) -> None:
        """Prove that the claim is still this worker's own; raises ClaimLost."""
        with self._queue.changed:
            self._own()

    def secret(self) -> str | None:
        """Return the newest secret for the job's system; None when the job has no secret any more."""
        with self._queue.changed:
            entry = self._entry
            self._secrets_seen = entry.secrets_came
            return entry.secret or (entry.job.secret if entry.job.has_secret else None)

    def cancel_wanted(self) -> bool:
        """Say whether somebody asked for the job to stop."""
        with self._queue.changed:
            return self._entry.cancel_wanted

    def unwanted(self) -> bool:
        """Whether `stop_unwanted` stopped the job."""
        with self._queue.changed:
            return self._entry.unwanted

    def retry(self, reason: str, delay_s: float, *, counted: bool = True, trace: str = "") -> None:
        """Give the job back: it waits for `delay_s` seconds, then may be claimed again; raises ClaimLost."""
        with self._queue.changed:
            entry = self._own()
            self._queue.note_attempt_ended(entry, reason, trace=trace)
            wake_ns = self._queue.clock() + round(delay_s * 1e9)
            self._queue.to_parked(entry, wake_ns, self.attempt if counted else self.attempt - 1)

    def park(self, reason: str) -> None:
        """Give the job back until the same work is asked for again; raises ClaimLost."""
        with self._queue.changed:
            entry = self._own()
            self._queue.note_attempt_ended(entry, reason)
            self._queue.to_parked(entry, NEVER_NS, self.attempt - 1)
            if entry.secrets_came > self._secrets_seen:
                self._queue.to_waiting(entry)

    def give_back(self) -> None:
        """Let another worker have the job at once, as if this attempt had not been; raises ClaimLost."""
        with self._queue.changed:
            entry = self._own()
            self._queue.note_attempt_ended(entry, "the worker left")
            self._queue.to_waiting(entry, self.attempt - 1)

    def finish(self, outcome: JobState, reason: str = "", seconds: float | None = None, *, trace: str = "") -> None:
        """End the job as done, failed or cancelled; raises ClaimLost."""
        with self._queue.changed:
            self._queue.finish(self._own(), outcome, reason, seconds, trace)
