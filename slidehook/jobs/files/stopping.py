"""Stopping jobs on disk: cancelled ones, and those whose result was deleted.

The wish is a note, left before anybody looks where the job is: whoever has the job then, or gets it next, finds it. A
job that waits is taken from the workers and ended at once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from pydantic_core import to_json

from slidehook.errors import JobDamaged, QueueError
from slidehook.jobs.contract import Cancelled, CancelNotifier
from slidehook.jobs.files.durable import read_whole, rename, sync_dir
from slidehook.jobs.files.names import JobName
from slidehook.jobs.files.notes import NoteKind
from slidehook.jobs.files.owned_file import Disk, OwnedFile
from slidehook.jobs.files.waiting import find, walk
from slidehook.jobs.job import JobRecord, JobState, parse_record

LOOK_AGAIN = 3
"""How often a job is looked for: it may be renamed from one state to the next while somebody looks."""


class Stopper:
    """Stops the jobs of one queue. Raises OSError as the file system does, and QueueError.

    `claimer_id` is this process's name in the queue; `release_later` gets a job that can't be released now.
    """

    def __init__(self, disk: Disk, claimer_id: str, release_later: Callable[[OwnedFile], None]) -> None:
        self._disk = disk
        self._layout = disk.layout
        self._claimer_id = claimer_id
        self._release_later = release_later

    def cancel(self, job_id: str, reason: str, *, secret: str | None, tell: CancelNotifier) -> Cancelled | None:
        """Stop a job, see `JobSink.cancel`; None: it is not live."""
        notes = [] if secret is None else [self._post(job_id, NoteKind.SECRET, secret.encode())]
        # After the secret: each later secret outdates a wish to stop.
        notes.append(self._post(job_id, NoteKind.CANCEL))
        found = self._take(job_id)
        if found is None or found[0] is JobState.ENDING:
            self._disk.notes.take_back(notes)  # no worker will read them
            return found and Cancelled(job_id, None)
        _, file = found
        return Cancelled(job_id, None) if file is None else self._end(file, reason, tell)

    def _end(self, file: OwnedFile, reason: str, tell: CancelNotifier) -> Cancelled:
        try:
            record = self._read(file)
            told = record is None or tell(record)
        except BaseException:
            self._let_go(file)
            raise
        if not told:
            self._let_go(file)
            return Cancelled(file.name.job_id, None)
        file.finish(JobState.CANCELLED, reason, None)
        return Cancelled(file.name.job_id, record)

    def _read(self, file: OwnedFile) -> JobRecord | None:
        """Read a job, with the newest secret in its job; None when it can't be read."""
        try:
            record = parse_record(read_whole(file.path))
        except JobDamaged:
            return None
        _, secret = self._disk.notes.newest_content(record.job.id, NoteKind.SECRET)
        if secret:  # an unreadable one does not count
            record.job = record.job.model_copy(update={"secret": secret})
        return record

    def _let_go(self, file: OwnedFile) -> None:
        """Leave a job to the workers, who find the wish to stop beside it."""
        try:
            file.to_waiting()
            sync_dir(self._layout.active)  # a power cut must not put a parked job back to sleep
        except OSError:
            self._release_later(file)

    def stop_unwanted(
        self, concerns: Callable[[JobRecord], bool], reason: str, *, app_id: str, slide_id: str, key: str | None
    ) -> list[str]:
        """Stop the jobs that `concerns` accepts, see `JobSink.stop_unwanted`."""
        stopped = []
        for record in [each for each in self._candidates(app_id, slide_id, key) if concerns(each)]:
            job_id = record.job.id
            note = self._post(job_id, NoteKind.UNWANTED)
            found = self._take(job_id)
            if found is None or found[0] is JobState.ENDING:
                self._disk.notes.take_back([note])
                continue
            if found[1] is not None:
                found[1].finish(JobState.CANCELLED, reason, None)
            stopped.append(job_id)
        return stopped

    def _candidates(self, app_id: str, slide_id: str, key: str | None) -> list[JobRecord]:
        """Read the live jobs of an app and a slide; with a key only that work's, however many jobs wait."""
        if key is not None:
            record = self._disk.aliases.live(key)
            found = [] if record is None else [record]
        else:
            found = list(self._read_live(app_id, slide_id))
        return [each for each in found if (each.job.app_id, each.job.slide_id) == (app_id, slide_id)]

    def _read_live(self, app_id: str, slide_id: str) -> Iterator[JobRecord]:
        slide = b'"slide_id":' + to_json(slide_id)
        paths = [f"{folder}/{text}" for folder, texts in walk(self._layout.waiting) for text in texts]
        for state in (JobState.PARKED, JobState.ACTIVE):
            paths += [self._layout.path(name) for name in self._layout.names(state)]
        for path in paths:
            if f".{app_id}." in path.rpartition("/")[2]:
                # A job that has just been renamed is missed here; its worker then finds that its result is gone.
                with contextlib.suppress(FileNotFoundError, JobDamaged):
                    if slide in (content := read_whole(path)):
                        yield parse_record(content)

    def _post(self, job_id: str, kind: NoteKind, content: bytes = b"") -> str:
        return self._disk.notes.post(job_id, kind, self._disk.clock(), content)

    def _take(self, job_id: str) -> tuple[JobState, OwnedFile | None] | None:
        """Find a job and, where it waits, take it from the workers; None when it has ended."""
        for _ in range(LOOK_AGAIN):
            found = self._find(job_id)
            if found is None:
                return None
            path, name = found
            if name.state in {JobState.ACTIVE, JobState.ENDING}:
                return name.state, None
            mine = name.active(self._claimer_id, name.attempt)
            with contextlib.suppress(FileNotFoundError):
                if name.state is JobState.PARKED:  # a parked job is woken first: the transitions have no shorter way
                    path = self._disk.enqueuer.enter(path, name.waiting())
                rename(path, self._layout.path(mine))
                return name.state, OwnedFile(self._disk, mine)
        raise QueueError(f"job {job_id} moves too fast to be stopped; try again")

    def _find(self, job_id: str) -> tuple[str, JobName] | None:
        """Find a job that has not ended, on its way from waiting to the end."""
        for _ in range(LOOK_AGAIN):
            if (found := find(self._layout.waiting, job_id)) is not None:
                return found
            for state in (JobState.PARKED, JobState.ACTIVE, JobState.ENDING):
                for name in self._layout.names(state):
                    if name.job_id == job_id:
                        return self._layout.path(name), name
        return None
