"""The queue in memory as an operator sees it."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence

from slidehook.errors import IllegalTransition
from slidehook.jobs.contract import Cancelled, CancelNotifier, JobNotFound, JobSummary, Purged, already_notified
from slidehook.jobs.job import ENDED, JobRecord, JobState
from slidehook.jobs.memory.state import Entry, MemoryState
from slidehook.jobs.rules import LISTED, RETRIABLE


class MemoryQueueAdmin:
    """The queue as an operator sees it. See `slidehook.jobs.contract.QueueAdmin`."""

    def __init__(self, queue: MemoryState, party: str) -> None:
        self._queue = queue
        self._party = party

    def counts(self) -> dict[JobState | str, int]:
        """Count the jobs of each state; none is ever `damaged` here."""
        with self._queue.changed:
            counts: dict[JobState | str, int] = dict.fromkeys(LISTED, 0)
            for entry in self._queue.entries.values():
                counts[entry.state] += 1
            return counts | {"damaged": 0}

    def list(
        self,
        states: tuple[JobState, ...] = LISTED,
        *,
        app_id: str | None = None,
        slide_id: str | None = None,
        limit: int | None = None,
    ) -> Iterator[JobSummary]:
        """List jobs: live ones in the order in which they run, ended ones from the newest; at most `limit`."""
        with self._queue.changed:
            found = [
                each.summary()
                for state in states
                for each in self._sorted(state)
                if _is_wanted(each, app_id, slide_id)
            ]
        return iter(found[:limit])

    def _sorted(self, state: JobState) -> Sequence[Entry]:
        found = [each for each in self._queue.entries.values() if each.state is state]
        if state is JobState.PARKED:
            return sorted(found, key=lambda each: (each.wake_ns, each.job.id))
        if state in ENDED:
            return sorted(found, key=lambda each: (each.ended_ns // (86400 * 10**9), each.job.id), reverse=True)
        return sorted(found, key=lambda each: each.order if state is JobState.WAITING else (0, each.job.id))

    def _find(self, job_id: str) -> Entry:
        found = [each for key, each in self._queue.entries.items() if key.startswith(job_id)]
        if len(found) != 1:
            several = f"{len(found)} jobs' ids begin with" if found else "no job has the id"
            raise JobNotFound(f"{several} {job_id}")
        return found[0]

    def workers(self) -> builtins.list[str]:
        """List the names of the workers that live."""
        with self._queue.changed:
            return sorted(self._queue.workers - self._queue.dead)

    def read(self, summary: JobSummary) -> JobRecord:
        """Read a listed job; raises JobNotFound when it is gone."""
        return self.show(summary.job_id)[1]

    def show(self, job_id: str) -> tuple[JobSummary, JobRecord]:
        """Return one job, by its id or an unambiguous beginning of it; raises JobNotFound."""
        with self._queue.changed:
            entry = self._find(job_id)
            return entry.summary(), entry.record

    def retry(self, job_id: str) -> JobSummary:
        """Let a failed job, or one that sleeps, run again now, with all its attempts.

        Raises JobNotFound, IllegalTransition for another state or when the same work is queued already.
        """
        queue = self._queue
        with queue.changed:
            entry = self._find(job_id)
            if entry.state not in RETRIABLE:
                raise IllegalTransition(f"a job that is {entry.state} can't be tried again")
            if entry.state is JobState.FAILED:
                if (twin := queue.aliases.get(entry.job.key)) is not None:
                    raise IllegalTransition(f"the same work is queued already, as job {twin.job.id}")
                queue.note_attempt_ended(entry, "an operator lets it run again")
                for key in filter(None, (entry.job.key, entry.job.cancellation_key)):
                    queue.aliases.setdefault(key, entry)
            queue.to_waiting(entry, 0)
            return entry.summary()

    def cancel(self, job_id: str, *, tell: CancelNotifier = already_notified) -> Cancelled:
        """Stop a live job; raises JobNotFound, IllegalTransition when it has ended."""
        with self._queue.changed:
            entry = self._find(job_id)
            if entry.state in ENDED:
                raise IllegalTransition(f"job {entry.job.id} has ended: {entry.state}")
            return self._queue.cancel(entry, "cancelled by an operator", self._party, None, tell)

    def purge(
        self,
        older_than_s: float,
        states: tuple[JobState, ...] = tuple(ENDED),
        *,
        app_id: str | None = None,
        slide_id: str | None = None,
    ) -> Purged:
        """Remove ended jobs older than that; raises ValueError on a live state."""
        if not set(states) <= ENDED:
            raise ValueError("only ended jobs can be purged")
        with self._queue.changed:
            entries, before_ns = self._queue.entries, self._queue.clock() - round(older_than_s * 1e9)
            old = [
                key
                for key, each in entries.items()
                if each.state in states and each.ended_ns < before_ns and _is_wanted(each, app_id, slide_id)
            ]
            for key in old:
                del entries[key]
            return Purged(len(old), 0)


def _is_wanted(entry: Entry, app_id: str | None, slide_id: str | None) -> bool:
    return app_id in {None, entry.job.app_id} and slide_id in {None, entry.job.slide_id}
