"""The queue in memory as a webserver sees it."""

from __future__ import annotations

from collections.abc import Callable

from slidehook.errors import QueueError
from slidehook.jobs.contract import Allow, Cancelled, CancelNotifier, allowed_already, already_notified
from slidehook.jobs.job import Job, JobRecord, JobState
from slidehook.jobs.memory.in_hand import InHand
from slidehook.jobs.memory.state import Entry, MemoryState
from slidehook.jobs.rules import LIVE, MAX_ALIASES, NEVER_NS


class MemorySink:
    """The queue as a webserver sees it. See `slidehook.jobs.contract.JobSink`."""

    def __init__(self, queue: MemoryState, party: str) -> None:
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
            entry = Entry(job, JobState.ACTIVE, owner=self.id, hand=object())
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

    def _join(self, twin: Entry, newer: Job) -> None:
        twin.take_secret(newer.secret)
        twin.cancel_wanted = False
        names = sum(each is twin for each in self._queue.aliases.values()) + 1
        if newer.cancellation_key and names < MAX_ALIASES:
            self._queue.aliases.setdefault(newer.cancellation_key, twin)
        if twin.state is JobState.PARKED and twin.wake_ns == NEVER_NS:
            self._queue.to_waiting(twin)

    def peek(self, job: Job) -> JobRecord | None:
        """Return the record of the same work as `job`; None when it is neither queued nor running."""
        with self._queue.changed:
            entry = self._queue.aliases.get(job.key)
            return entry.record if entry else None

    def is_held(self, job_id: str) -> bool:
        """Return whether the process that put a job still holds it, and may withdraw it."""
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


class MemoryHold(InHand):
    """See `slidehook.jobs.contract.Hold`."""

    def __init__(self, queue: MemoryState, entry: Entry, hand: object) -> None:
        super().__init__(queue, entry, hand)
        self.job = entry.job

    @property
    def coalesced(self) -> bool:
        """Whether the same work was queued or running already."""
        return self._hand is None

    def _own(self) -> Entry:
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
