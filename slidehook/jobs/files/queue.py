"""The queue on disk for the webserver and for operators; `source.py` is the worker's side.

Each job is one file at all times: its first line is the job, each further line an event. A rename changes its state.
The new name contains the claimer, so one rename decides who has the job. A claimer that lost it finds no file under
its own name. docs/queue.md explains the design.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from pydantic import JsonValue

from slidehook.errors import ClaimLost, QueueError
from slidehook.jobs.contract import Allow, Cancelled, CancelNotifier, allowed_already, already_notified
from slidehook.jobs.files.claimers import Claimer
from slidehook.jobs.files.durable import NewFile, remove, sync_dir
from slidehook.jobs.files.layout import Layout
from slidehook.jobs.files.names import JobName
from slidehook.jobs.files.notes import NoteKind
from slidehook.jobs.files.owned_file import Disk, OwnedFile
from slidehook.jobs.files.stopping import Stopper
from slidehook.jobs.job import Job, JobRecord, JobState
from slidehook.jobs.rules import NEVER_NS


class queue_errors:  # noqa: N801 - read as the verb that it is
    """Turn what the file system refuses into a QueueError that says so."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OSError):
            raise QueueError(f"the queue {self._what}: {error.strerror or error}") from error


class FileQueue:
    """A queue directory as one process sees it. `role` (`web`, `work`) begins this process's name in it.

    Thread-safe. Raises QueueError when the directory can't be used. `clock` returns ns since 1970.
    """

    def __init__(self, root: Path, role: str, *, clock: Callable[[], int] = time.time_ns) -> None:
        self.disk = Disk(Layout(root), clock)
        self.layout = self.disk.layout
        self._role = role
        self._claimer: Claimer | None = None
        self._lock = Lock()
        self._late: deque[OwnedFile] = deque()

    @property
    def claimer(self) -> Claimer:
        """This process as a claimer. It is made at its first use: after gunicorn's fork, not before."""
        if (claimer := self._claimer) is not None:
            return claimer
        with self._lock:
            if self._claimer is None:
                with queue_errors("can't be claimed from"):
                    self._claimer = Claimer(self.layout.root, self._role, each_beat=self._release_late)
            return self._claimer

    def close(self) -> None:
        """Give this process's lock back."""
        with self._lock:
            if self._claimer is not None:
                self._claimer.close()
                self._claimer = None

    def release_later(self, file: OwnedFile) -> None:
        """Keep trying to release a held job: no worker can claim it while this process lives."""
        self._late.append(file)

    def _release_late(self) -> None:
        for _ in range(len(self._late)):
            file = self._late.popleft()
            try:
                file.to_waiting()
            except ClaimLost:
                continue
            except OSError:
                self._late.append(file)

    # --- putting

    def put(self, job: Job) -> Job:
        """Make a job durable and claimable; returns the job that does the work, which may be an earlier one."""
        hold = self.hold(job)
        if not hold.coalesced:
            hold.release()
        return hold.job

    def hold(self, job: Job, *, join: bool = True) -> FileHold:
        """Make a job durable and keep it from workers, see `slidehook.jobs.contract.JobSink`."""
        with queue_errors("can't take the job"):
            name = JobName(JobState.ACTIVE, job.id, job.priority, job.app_id, 0, self.claimer.id)
            file = OwnedFile(self.disk, name)  # where it is this process's own: nobody else reads it yet
            with NewFile(file.path, job.to_line()) as new:
                key = job.key  # computed while the disk writes
                new.sync(self.layout.active)
            if (twin := self._make_known(file, job, key)) is None:
                return FileHold(self, file, job)
            if join:
                self._join(twin.job, job)
            return FileHold(self, None, twin.job)

    def join(self, job: Job) -> bool:
        """Add a request to the same work; returns False when the work is neither queued nor running."""
        with queue_errors("can't take the job"):
            if (twin := self._at_work(job.key)) is None:
                return False
            self._join(twin.job, job)
            return True

    def _make_known(self, file: OwnedFile, job: Job, key: str) -> JobRecord | None:
        """Link a durable job under its work's key; if a live job has that key, remove the new one and return that.

        The twin is not searched before the job is written: mostly there is none, and the link finds it anyway.
        """
        aliases = self.disk.aliases
        try:
            while not aliases.make(file.path, key):
                if (twin := self._at_work(key)) is not None:
                    remove(file.path)
                    return twin
            if job.cancellation_key:
                aliases.make(file.path, job.cancellation_key)
        except OSError:
            self._undo(file, job)
            raise
        return None

    def _undo(self, file: OwnedFile, job: Job) -> None:
        """Remove a job that could not be taken in, as far as the disk permits."""
        with contextlib.suppress(OSError, ClaimLost):
            file.withdraw()
            return
        with contextlib.suppress(OSError):  # as on a full disk, where its end can't be noted
            self.disk.aliases.drop(job)
        with contextlib.suppress(OSError):
            remove(file.path)

    def _join(self, twin: Job, newer: Job) -> None:
        """Give a live job the secret and the cancellation token of a later request for the same work."""
        self.disk.notes.post(twin.id, NoteKind.SECRET, self.disk.clock(), newer.secret.encode())
        if newer.cancellation_key:
            self.disk.aliases.add(twin.key, newer.cancellation_key)
        for name in self.layout.names(JobState.PARKED):
            if name.job_id == twin.id and name.wake_ns == NEVER_NS:
                with contextlib.suppress(FileNotFoundError):
                    target = self.disk.enqueuer.enter(self.layout.path(name), name.waiting())
                    sync_dir(os.path.dirname(target))

    def peek(self, job: Job) -> JobRecord | None:
        """Return the record of the same work as `job`; None when it is neither queued nor running."""
        with queue_errors("can't be read"):
            return self._at_work(job.key)

    def is_held(self, job_id: str) -> bool:
        """Return whether the process that put a job still holds it, and may withdraw it."""
        with queue_errors("can't be read"):
            names = self.layout.names(JobState.ACTIVE)
            return any(name.job_id == job_id and name.attempt == 0 for name in names)

    def _at_work(self, key: str) -> JobRecord | None:
        """Return the live job with this work's key, unless it was stopped for good and can't be joined."""
        record = self.disk.aliases.live(key)
        if record is None:
            return None
        if self.disk.notes.newest(record.job.id, NoteKind.UNWANTED):
            self.disk.aliases.free(key, record.job)
            return None
        return record

    # --- stopping

    def _stopper(self) -> Stopper:
        return Stopper(self.disk, self.claimer.id, self.release_later)

    def cancel(
        self,
        cancellation_key: str,
        *,
        secret: str | None = None,
        tell: CancelNotifier = already_notified,
        allow: Allow = allowed_already,
    ) -> Cancelled | None:
        """Stop the job of a cancellation token (its digest); None when no such job is queued or running.

        See `slidehook.jobs.contract.JobSink`.
        """
        with queue_errors("can't cancel the job"):
            record = self.disk.aliases.live(cancellation_key)
            if record is None or not allow(record):
                return None
            return self.cancel_job(record.job.id, secret=secret, tell=tell)

    def cancel_job(
        self,
        job_id: str,
        reason: str = "cancelled",
        *,
        secret: str | None = None,
        tell: CancelNotifier = already_notified,
    ) -> Cancelled | None:
        """Stop a job: at once if it waits, by a note to its worker if it runs. Returns None if it has ended."""
        return self._stopper().cancel(job_id, reason, secret=secret, tell=tell)

    def stop_unwanted(
        self,
        concerns: Callable[[JobRecord], bool],
        reason: str,
        *,
        app_id: str,
        slide_id: str,
        key: str | None = None,
    ) -> list[str]:
        """Stop the live jobs that `concerns` accepts, see `slidehook.jobs.contract.JobSink`; returns their ids."""
        with queue_errors("can't stop the job"):
            return self._stopper().stop_unwanted(concerns, reason, app_id=app_id, slide_id=slide_id, key=key)


class FileHold:
    """See `slidehook.jobs.contract.Hold`."""

    def __init__(self, queue: FileQueue, file: OwnedFile | None, job: Job) -> None:
        self._queue = queue
        self._file = file
        self.job = job

    @property
    def coalesced(self) -> bool:
        """Whether the same work was queued or running already."""
        return self._file is None

    @property
    def _held(self) -> OwnedFile:
        if self._file is None:
            raise QueueError("a coalesced job is not held")
        return self._file

    def note(self, noted: dict[str, JsonValue]) -> None:
        """Store what a later attempt must find again."""
        with queue_errors("can't be written to"):
            self._held.note(noted)

    def release(self) -> None:
        """Make the job claimable; if that fails, it is tried again until it succeeds."""
        try:
            self._held.to_waiting()
        except OSError as error:
            self._queue.release_later(self._held)
            raise QueueError(f"the queue can't release the job yet: {error.strerror or error}") from error

    def withdraw(self) -> None:
        """Remove a job that was not acknowledged; if that fails, the job runs after all."""
        try:
            self._held.withdraw()
        except OSError as error:
            self._queue.release_later(self._held)
            raise QueueError(f"the queue can't take the job back: {error.strerror or error}") from error
