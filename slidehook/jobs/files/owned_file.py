"""A job's file whose name contains its claimer, and its changes to every other state."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import structlog
from pydantic import JsonValue

from slidehook.errors import ClaimLost, JobDamaged
from slidehook.jobs.files.aliases import Aliases
from slidehook.jobs.files.durable import append, make_dir, overwrite, read_whole, remove, rename, sync_file
from slidehook.jobs.files.layout import Layout
from slidehook.jobs.files.names import JobName
from slidehook.jobs.files.notes import Notes
from slidehook.jobs.files.waiting import Enqueuer
from slidehook.jobs.files.watch import is_remote
from slidehook.jobs.job import (
    ENDED,
    AttemptEnded,
    Ended,
    Event,
    Job,
    JobState,
    Noted,
    blank_secret,
    check_transition,
    parse_job,
    parse_record,
)

log = structlog.get_logger()


class Disk:
    """What all parts of a queue share: its folders, and the time in ns since 1970."""

    def __init__(self, layout: Layout, clock: Callable[[], int]) -> None:
        self.layout = layout
        self.clock = clock
        self.aliases = Aliases(layout.aliases)
        self.notes = Notes(layout.notes, layout.tmp)
        self.remote = is_remote(layout.root)
        self.enqueuer = Enqueuer(layout.waiting, trust_times=not self.remote)


class OwnedFile:
    """A claimed job's file. Every method raises ClaimLost when another process has the file."""

    def __init__(self, disk: Disk, name: JobName) -> None:
        self._disk = disk
        self.name = name
        self.path = disk.layout.path(name)
        """The path of the file while it is ours."""

    def lost(self) -> ClaimLost:
        """Return the error for a job that another process has."""
        return ClaimLost(f"job {self.name.job_id} is no longer this process's own (attempt {self.name.attempt})")

    @contextmanager
    def _owning(self) -> Iterator[None]:
        """Turn "file not found" into ClaimLost if the listing of the folder shows that another process has the file.

        While the queue is away, no file is found either. Then the listing raises OSError, which proves nothing.
        """
        try:
            yield
        except FileNotFoundError as error:
            if str(self.name) in os.listdir(self._disk.layout.folder(self.name.state)):
                raise
            raise self.lost() from error

    def check(self) -> None:
        """Raise ClaimLost unless the file is still there: by listing, since `stat` may be outdated on a share."""
        if self.name.claimer is None or str(self.name) not in os.listdir(self._disk.layout.folder(self.name.state)):
            raise self.lost()

    def append(self, event: Event) -> None:
        """Append an event."""
        if self.name.claimer is None:  # given back: what lies under the name now is anybody's
            raise self.lost()
        with self._owning():
            append(self.path, event.model_dump_json().encode() + b"\n")

    def note(self, noted: dict[str, JsonValue]) -> None:
        """Store what a later attempt must find again."""
        self.append(Noted(at=self._now(), attempt=self.name.attempt, noted=noted))

    def note_attempt_ended(self, reason: str, *, claimer: str | None = None, trace: str = "") -> None:
        """Note why this attempt ended without an outcome; of a dead claimer, who it was; an app's traceback."""
        at, attempt = self._now(), self.name.attempt
        self.append(AttemptEnded(at=at, attempt=attempt, reason=reason, claimer=claimer, trace=trace))

    def note_ended(self, outcome: JobState, reason: str, seconds: float | None, trace: str = "") -> None:
        """Note how the job ended, after how many seconds of work, and an app's traceback."""
        values = {"at": self._now(), "attempt": self.name.attempt, "outcome": outcome, "reason": reason}
        self.append(Ended.model_validate(values | {"seconds": seconds, "trace": trace}))

    def to_waiting(self, *, attempt: int | None = None) -> None:
        """Let anybody claim the job."""
        after = self.name.waiting(attempt=attempt)
        check_transition(self.name.state, after.state)
        with self._owning():
            self.path = self._disk.enqueuer.enter(self.path, after)
        self.name = after

    def to_parked(self, wake_ns: int, *, attempt: int | None = None) -> None:
        """Let the job sleep until `wake_ns`."""
        self._move(self.name.parked(wake_ns, attempt=attempt))

    def finish(self, outcome: JobState, reason: str, seconds: float | None, trace: str = "") -> None:
        """Note the outcome, then end the job; raises ValueError on a state that is no end."""
        if outcome not in ENDED:
            raise ValueError(f"a job that is {self.name.state} can't end as {outcome}")
        if self.name.state is not JobState.ENDING:  # else an earlier try came that far
            self.note_ended(outcome, reason, seconds, trace)
        self.end_as_noted(outcome)

    def end_as_noted(self, outcome: JobState) -> None:
        """End the job with the outcome that its file already records."""
        if self.name.claimer is None:
            raise self.lost()
        self._move(self.name.ending(self.name.claimer, outcome))
        with self._owning():
            complete(self._disk, self.name)

    def withdraw(self) -> None:
        """Remove a job that was not acknowledged; it leaves no trace.

        Its end is noted all the same: who joined it meanwhile has links to its file, and finds that it has ended.
        """
        check_transition(self.name.state, JobState.WITHDRAWN)
        self.note_ended(JobState.CANCELLED, "withdrawn", None)
        content = read_whole(self.path)
        _forget(self._disk, self.path, content, parse_job(content))
        remove(self.path)

    def _move(self, after: JobName) -> None:
        check_transition(self.name.state, after.state)
        path = self._disk.layout.path(after)
        with self._owning():
            rename(self.path, path)
        self.name, self.path = after, path

    def _now(self) -> float:
        return self._disk.clock() / 1e9


def set_aside(disk: Disk, path: str, name: str, why: Exception) -> None:
    """Move what can't be used out of the way, to `damaged`, and log why."""
    kept = f"{disk.clock():016x}.{name}"
    rename(path, f"{disk.layout.damaged}/{kept}")
    log.error("set aside as damaged", file=f"damaged/{kept}", reason=str(why))


def complete(disk: Disk, name: JobName) -> None:
    """Bring an ending job to rest: its aliases, notes and secret go, then it gets its last name, durably.

    Every step may be done twice, so a process that takes over from a dead claimer begins again. Raises
    FileNotFoundError if another one has done so.
    """
    path = disk.layout.path(name)
    rest = name.ended()
    check_transition(name.state, rest.state)
    try:
        content = read_whole(path)
        record = parse_record(content)
    except JobDamaged as error:
        set_aside(disk, path, str(name), error)
        return
    if not record.ended:  # lost with the power, though the rename that followed it was not
        OwnedFile(disk, name).note_ended(rest.state, "", None)
    _forget(disk, path, content, record.job)
    day = datetime.fromtimestamp(disk.clock() / 1e9, UTC).strftime("%Y-%m-%d")
    folder = f"{disk.layout.folder(rest.state)}/{day}"
    while True:
        try:
            rename(path, f"{folder}/{rest}")
        except FileNotFoundError:
            # Either the job is gone, or its day's folder is not there: new, or purged as empty a moment ago.
            if str(name) not in os.listdir(disk.layout.folder(name.state)):
                raise
            make_dir(folder)
            continue
        except NotADirectoryError as error:
            set_aside(disk, folder, day, error)
            continue
        return


def _forget(disk: Disk, path: str, content: bytes, job: Job) -> None:
    """Remove a job's aliases, its notes, and the secret in its file; make that and its outcome durable.

    Only then may it get its last name, or none: should a power cut undo that, it is ended once more from here.
    """
    disk.aliases.drop(job)
    disk.notes.drop(job.id)
    if (blank := blank_secret(content)) is not None:
        overwrite(path, *blank)
    sync_file(path)
