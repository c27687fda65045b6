"""The queue in memory as a worker sees it."""

from __future__ import annotations

from slidehook.jobs.job import AttemptEnded, Claimed, Job, JobState
from slidehook.jobs.memory.in_hand import InHand
from slidehook.jobs.memory.state import Entry, MemoryState
from slidehook.jobs.rules import LIVE, NEVER_NS


class MemorySource:
    """The queue as a worker sees it. See `slidehook.jobs.contract.JobSource`."""

    def __init__(self, queue: MemoryState, party: str, max_attempts: int, apps: frozenset[str] | None) -> None:
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
            claim = MemoryClaim(queue, entry, self._max_attempts)
            if not claim.record.is_claimed(entry.attempt):
                entry.events.append(Claimed(at=queue.clock() / 1e9, attempt=entry.attempt, claimer=self.id))
            return claim

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

    def close(self) -> None:
        """Do nothing: nothing is open."""


class MemoryClaim(InHand):
    """See `slidehook.jobs.contract.Claim`."""

    def __init__(self, queue: MemoryState, entry: Entry, max_attempts: int) -> None:
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
        """Return whether somebody asked for the job to stop."""
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
