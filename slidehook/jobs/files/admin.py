"""The operator's commands: list, count, show, retry, cancel, purge. They work while everything runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from itertools import islice

from slidehook.errors import IllegalTransition, JobDamaged
from slidehook.jobs.contract import Cancelled, CancelNotifier, JobNotFound, JobSummary, Purged, already_notified
from slidehook.jobs.files.claimers import at_work, purge_dead_claimers
from slidehook.jobs.files.durable import append, read_whole, remove, remove_dir, sync_dir, sync_file
from slidehook.jobs.files.names import JobName
from slidehook.jobs.files.queue import FileQueue, queue_errors
from slidehook.jobs.files.waiting import walk
from slidehook.jobs.job import ENDED, AttemptEnded, JobRecord, JobState, check_transition, parse_record
from slidehook.jobs.rules import LISTED, LIVE, NEVER_NS, RETRIABLE

ABANDONED_S = 86400.0
"""The age in seconds from which a half-written file counts as a dead process's."""


class FileQueueAdmin:
    """A queue directory as an operator sees it. Raises QueueError when it can't be read."""

    def __init__(self, queue: FileQueue) -> None:
        self._queue = queue
        self._disk = queue.disk
        self._layout = queue.layout

    # --- looking

    def counts(self) -> dict[JobState | str, int]:
        """Count the jobs of each state, and the damaged files, from listings alone."""
        with queue_errors("can't be read"):
            counts: dict[JobState | str, int] = dict.fromkeys(LISTED, 0)
            for state in LISTED:
                counts[state] = sum(JobName.is_one(state, text) for text in self._texts(state))
            counts["damaged"] = len(os.listdir(self._layout.damaged))
            return counts

    def workers(self) -> list[str]:
        """List the running workers, by their names as claimers."""
        with queue_errors("can't be read"):
            return at_work(self._layout.root, "work")

    def list(
        self,
        states: tuple[JobState, ...] = LISTED,
        *,
        app_id: str | None = None,
        slide_id: str | None = None,
        limit: int | None = None,
    ) -> Iterator[JobSummary]:
        """List jobs: live ones in the order in which they run, ended ones from the newest; at most `limit`."""
        with queue_errors("can't be read"):
            found = (
                _summary(name, path)
                for state in states
                for path, name in self._names(state)
                if self._is_wanted(path, name, app_id, slide_id)
            )
            yield from islice(found, limit)

    def _is_wanted(self, path: str, name: JobName, app_id: str | None, slide_id: str | None) -> bool:
        """Return whether a job is of an app and a slide; for a slide its file is read."""
        if app_id is not None and name.app_id != app_id:
            return False
        if slide_id is None:
            return True
        with contextlib.suppress(JobNotFound, JobDamaged):
            return _read(path).job.slide_id == slide_id
        return False

    def _texts(self, state: JobState) -> Iterator[str]:
        """List the names of the files of a state, including foreign ones."""
        folder = self._layout.folder(state)
        if state is JobState.WAITING or state in ENDED:
            for _, texts in walk(folder) if state is JobState.WAITING else _days(folder):
                yield from texts
        else:
            yield from os.listdir(folder)

    def _names(self, state: JobState) -> Iterator[tuple[str, JobName]]:
        if state is JobState.WAITING:
            for folder, texts in walk(self._layout.waiting):
                for text in texts:
                    if (name := JobName.parse(state, text)) is not None:
                        yield f"{folder}/{text}", name
        elif state in ENDED:
            yield from self._layout.ended(state)
        else:
            yield from ((self._layout.path(name), name) for name in self._layout.names(state))

    def find(self, job_id: str) -> tuple[str, JobName]:
        """Find a job in any state by its id, or by the beginning of its id where that is unambiguous.

        Raises JobNotFound.
        """
        found = {
            name.job_id: (path, name)
            for state in LISTED
            for path, name in self._names(state)
            if name.job_id.startswith(job_id)
        }
        if len(found) != 1:
            several = f"{len(found)} jobs' ids begin with" if found else "no job has the id"
            raise JobNotFound(f"{several} {job_id}")
        return next(iter(found.values()))

    def _is_gone(self, job_id: str) -> bool:
        """Return whether no state has a job."""
        try:
            self.find(job_id)
        except JobNotFound:
            return True
        return False

    def show(self, job_id: str) -> tuple[JobSummary, JobRecord]:
        """Read one job with its history; raises JobNotFound, JobDamaged."""
        with queue_errors("can't be read"):
            path, name = self.find(job_id)
            return _summary(name, path), _read(path)

    def read(self, summary: JobSummary) -> JobRecord:
        """Read a listed job; raises JobDamaged, and JobNotFound if its state has changed since."""
        with queue_errors("can't be read"):
            return _read(summary.place)

    # --- acting

    def retry(self, job_id: str) -> JobSummary:
        """Let a failed or parked job run again now, with all its attempts.

        Raises JobNotFound, IllegalTransition for another state or when the same work is queued already.
        """
        with queue_errors("can't retry the job"):
            path, name = self.find(job_id)
            after = name.waiting(attempt=0)
            if name.state not in RETRIABLE:  # the table lets a running job wait again, but only by its own worker
                raise IllegalTransition(f"a job that is {name.state} can't be tried again")
            check_transition(name.state, after.state)
            record = _read(path)
            if name.state is JobState.FAILED:
                twin = self._disk.aliases.live(record.job.key)
                if twin is not None and twin.job.id != name.job_id:
                    raise IllegalTransition(f"the same work is queued already, as job {twin.job.id}")
                self._reopen(path, name)
            target = self._disk.enqueuer.enter(path, after)
            sync_dir(os.path.dirname(target))
            with contextlib.suppress(FileNotFoundError):  # a worker has it already
                self._disk.aliases.restore(target, record.job)
            return _summary(after)

    def _reopen(self, path: str, name: JobName) -> None:
        """Append that a job continues: the last event in its file tells the aliases whether it has ended."""
        event = AttemptEnded(
            at=self._disk.clock() / 1e9, attempt=name.attempt, reason="an operator lets it run again"
        )
        append(path, event.model_dump_json().encode() + b"\n")
        sync_file(path)

    def cancel(self, job_id: str, *, tell: CancelNotifier = already_notified) -> Cancelled:
        """Stop a live job, see `JobSink.cancel`; raises JobNotFound, IllegalTransition when it has ended."""
        with queue_errors("can't cancel the job"):
            _, name = self.find(job_id)
            cancelled = self._queue.cancel_job(name.job_id, "cancelled by an operator", tell=tell)
            if cancelled is None:
                raise IllegalTransition(f"job {name.job_id} has ended: {name.state}")
            return cancelled

    def purge(
        self,
        older_than_s: float,
        states: tuple[JobState, ...] = tuple(ENDED),
        *,
        app_id: str | None = None,
        slide_id: str | None = None,
    ) -> Purged:
        """Remove ended jobs older than that, and what dead processes left; raises ValueError on a live state."""
        if not set(states) <= ENDED:
            raise ValueError("only ended jobs can be purged")
        with queue_errors("can't be purged"):
            before_s = self._disk.clock() / 1e9 - older_than_s
            jobs = 0
            for state in states:
                for path, name in self._layout.ended(state):
                    with contextlib.suppress(FileNotFoundError):
                        old = os.stat(path).st_mtime < before_s
                        if old and self._is_wanted(path, name, app_id, slide_id) and remove(path):
                            jobs += 1
                for folder, texts in _days(self._layout.folder(state)):
                    if not texts:
                        remove_dir(folder)
            return Purged(jobs, self._sweep())

    def _sweep(self) -> int:
        now_ns = self._disk.clock()
        before_ns = now_ns - round(ABANDONED_S * 1e9)
        live = frozenset(name.job_id for state in LIVE for _, name in self._names(state))
        active = {name.claimer for state in (JobState.ACTIVE, JobState.ENDING) for name in self._layout.names(state)}
        swept = sum(1 for _ in self._disk.aliases.sweep(before_ns / 1e9, self._is_gone))
        swept += sum(1 for _ in self._disk.notes.sweep(live, before_ns))
        swept += sum(
            1 for _ in purge_dead_claimers(self._layout.root, {each for each in active if each}, before_ns / 1e9)
        )
        for text in os.listdir(self._layout.tmp):
            path = f"{self._layout.tmp}/{text}"
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                if os.stat(path).st_mtime < before_ns / 1e9 and remove(path):
                    swept += 1
        return swept


def _read(path: str) -> JobRecord:
    try:
        return parse_record(read_whole(path))
    except FileNotFoundError as error:
        raise JobNotFound("the job has gone on meanwhile; look again") from error


def _summary(name: JobName, path: str = "") -> JobSummary:
    wakes_at = name.wake_ns / 1e9 if name.wake_ns is not None and name.wake_ns != NEVER_NS else None
    return JobSummary(
        name.job_id, name.app_id, name.state, name.priority, name.attempt, name.made_at, name.claimer, wakes_at, path
    )


def _days(folder: str) -> Iterator[tuple[str, list[str]]]:
    for day in sorted(os.listdir(folder)):
        with contextlib.suppress(NotADirectoryError, FileNotFoundError):
            yield f"{folder}/{day}", os.listdir(f"{folder}/{day}")
