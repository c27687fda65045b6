"""The queue on disk: the webserver's side of it, and what both sides share.

Each job is one file at all times: its first line is the job, each further line an event. It changes its state
by being renamed, to a name that bears the claimer, so that one rename decides who has it; a claimer that lost
its job finds no file under the name it knew. docs/queue.md draws the whole.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from slidehook.errors import ClaimLost, JobDamaged, QueueError
from slidehook.jobs.claimers import Claimer
from slidehook.jobs.durable import append, make_dir, overwrite, sync_dir, write_new
from slidehook.jobs.job import (
    ENDED,
    AttemptEnded,
    Ended,
    Event,
    Job,
    JobRecord,
    JobState,
    ResultNoted,
    blank_token,
    check_transition,
    parse_record,
)
from slidehook.jobs.layout import Layout
from slidehook.jobs.names import JobName
from slidehook.jobs.waiting import WaitingRoom


class FileQueue:
    """A queue directory as one process sees it. `role` (`web`, `work`) begins this process's name in it.

    Safe for several threads. Raises QueueError when the directory can't be used. `clock` gives ns since 1970.
    """

    def __init__(self, root: Path, role: str, *, clock: Callable[[], int] = time.time_ns) -> None:
        self.layout = Layout(root)
        self.role = role
        self.clock = clock
        self.room = WaitingRoom(self.layout.waiting)
        self._claimer: Claimer | None = None
        self._lock = Lock()

    @property
    def claimer(self) -> Claimer:
        """This process as a claimer, made when it is first wanted: after gunicorn's fork, not before."""
        with self._lock:
            if self._claimer is None:
                self._claimer = Claimer(self.layout.root, self.role)
            return self._claimer

    def close(self) -> None:
        """Give this process's lock back."""
        with self._lock:
            if self._claimer is not None:
                self._claimer.close()
                self._claimer = None

    # --- putting

    def put(self, job: Job) -> Job:
        """Make a job durable and claimable; gives the job that does the work, which may be an older one."""
        hold = self.hold(job)
        if not hold.coalesced:
            hold.release()
        return hold.job

    def hold(self, job: Job) -> FileHold:
        """Make a job durable and keep it from workers, or join it to the same work already there."""
        while (twin := self._live_alias(job.key)) is None:
            held = self._create(job)
            if self._link_alias(held, job.key):
                if job.cancellation_key:
                    self._link_alias(held, job.cancellation_key)
                return FileHold(self, OwnedFile(self, held), job)
            OwnedFile(self, held).remove()
        self._post_token(twin.job, job)
        if job.cancellation_key:
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                self._make_link(self.layout.alias(job.key), job.cancellation_key)
        return FileHold(self, None, twin.job)

    def peek(self, job: Job) -> JobRecord | None:
        """Read what has happened to the work that `job` asks for; None when none is queued or running."""
        return self._live_alias(job.key)

    def _create(self, job: Job) -> JobName:
        name = JobName(JobState.ACTIVE, job.id, job.priority, job.app_id, attempt=0, claimer=self.claimer.id)
        aside = self.layout.tmp / str(name)
        try:
            write_new(aside, job.to_line())
            aside.rename(self.layout.active / str(name))
            sync_dir(self.layout.active)
        except OSError as error:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise QueueError(f"the queue can't take the job: {error.strerror}") from error
        return name

    # --- aliases: hard links to a live job, by what it is asked for with

    def _live_alias(self, key: str) -> JobRecord | None:
        path = self.layout.alias(key)
        try:
            record = parse_record(path.read_bytes())
        except FileNotFoundError:
            return None
        except JobDamaged:
            record = None
        if record is None or record.ended:
            # Left behind by a crash between a job's outcome and its last rename.
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            return None
        return record

    def _link_alias(self, name: JobName, key: str) -> bool:
        """Make the job known by `key`; False when another job is."""
        try:
            self._make_link(self.layout.folder(name.state) / str(name), key)
        except FileExistsError:
            return False
        return True

    def _make_link(self, source: Path, key: str) -> None:
        target = self.layout.alias(key)
        make_dir(target.parent)
        os.link(source, target)

    def _drop_aliases(self, job: Job) -> None:
        for key in (job.key, job.cancellation_key):
            if key is not None:
                path = self.layout.alias(key)
                with contextlib.suppress(FileNotFoundError, JobDamaged):
                    if parse_record(path.read_bytes()).job.id == job.id:
                        path.unlink()

    # --- notes: messages to whoever works on a job

    def _post_token(self, job: Job, newer: Job) -> None:
        if newer.callback_token != job.callback_token:
            self.post_note(job, "token", newer.callback_token.encode())

    def post_note(self, job: Job, kind: str, content: bytes = b"") -> None:
        """Leave a message for the job's worker, as a new name that every host's listing shows at once."""
        name = f"{job.id}.{self.clock():016x}.{kind}"
        aside = self.layout.tmp / name
        write_new(aside, content)
        aside.rename(self.layout.notes / name)
        sync_dir(self.layout.notes)

    def notes(self, job: Job, kind: str) -> list[Path]:
        """List the messages of a kind for a job, oldest first."""
        names = os.listdir(self.layout.notes)  # noqa: PTH208
        mine = [each for each in names if each.startswith(job.id) and each.endswith(f".{kind}")]
        return [self.layout.notes / each for each in sorted(mine)]

    # --- ending

    def complete(self, name: JobName) -> None:
        """Bring an ending job to rest: aliases, messages and token go, then it gets its last name.

        Every step may be done twice, so whoever takes over from a dead claimer begins again.
        """
        path = self.layout.ending / str(name)
        content = path.read_bytes()
        with contextlib.suppress(JobDamaged):
            job = parse_record(content).job
            self._drop_aliases(job)
            for kind in ("token", "cancel"):
                for note in self.notes(job, kind):
                    note.unlink(missing_ok=True)
        if (blank := blank_token(content)) is not None:
            overwrite(path, *blank)
        rest = name.ended()
        check_transition(name.state, rest.state)
        day = datetime.fromtimestamp(self.clock() / 1e9, UTC).strftime("%Y-%m-%d")
        folder = self.layout.folder(rest.state) / day
        make_dir(folder)
        path.rename(folder / str(rest))
        sync_dir(folder)

    # --- looking

    def unfinished(self) -> int:
        """Count the jobs that have not ended."""
        states = (JobState.ACTIVE, JobState.PARKED, JobState.ENDING)
        others = sum(JobName.parse(state, text) is not None for state in states for text in self.layout.names(state))
        return others + sum(JobName.parse(JobState.WAITING, path.name) is not None for path in self.room.walk())

    def ended(self, state: JobState) -> list[JobRecord]:
        """Read the jobs that ended as `state`, oldest first."""
        if state not in ENDED:
            raise ValueError(f"{state} is not an end")
        files = sorted(self.layout.folder(state).glob("*/*"), key=lambda path: path.name)
        return [parse_record(path.read_bytes()) for path in files if JobName.parse(state, path.name) is not None]


class OwnedFile:
    """A job's file under a name that bears this process: every change proves that it is still there."""

    def __init__(self, queue: FileQueue, name: JobName) -> None:
        self.queue = queue
        self.name = name

    @property
    def path(self) -> Path:
        """Where the file lies while it is ours."""
        return self.queue.layout.folder(self.name.state) / str(self.name)

    def lost(self) -> ClaimLost:
        """Give the error that says that the job is another's."""
        return ClaimLost(f"job {self.name.job_id} is no longer this process's own (attempt {self.name.attempt})")

    def check(self) -> None:
        """Raise ClaimLost unless the file is still there: by listing, since `stat` may lie on a share."""
        if str(self.name) not in os.listdir(self.queue.layout.folder(self.name.state)):  # noqa: PTH208
            raise self.lost()

    def note(self, event: Event, *, sync: bool = False) -> None:
        """Append an event; raises ClaimLost."""
        try:
            append(self.path, event.model_dump_json().encode() + b"\n", sync=sync)
        except FileNotFoundError as error:
            raise self.lost() from error

    def note_result(self, result_id: int | str, version_id: int | str) -> None:
        """Note which result DPAT stored; raises ClaimLost."""
        at = self.queue.clock() / 1e9
        self.note(ResultNoted(at=at, attempt=self.name.attempt, id=result_id, version_id=version_id))

    def move(self, after: JobName) -> None:
        """Rename to another state; raises ClaimLost when the file is another's, IllegalTransition."""
        check_transition(self.name.state, after.state)
        try:
            if after.state is JobState.WAITING:
                WaitingRoom(self.queue.layout.waiting).enter(self.path, after)
            else:
                self.path.rename(self.queue.layout.folder(after.state) / str(after))
        except FileNotFoundError as error:
            raise self.lost() from error
        self.name = after

    def remove(self) -> None:
        """Take back a job that nobody was told of."""
        check_transition(self.name.state, JobState.WITHDRAWN)
        self.path.unlink(missing_ok=True)

    def note_attempt_ended(self, reason: str) -> None:
        """Note why this attempt ended without an outcome; raises ClaimLost."""
        at = self.queue.clock() / 1e9
        self.note(AttemptEnded(at=at, attempt=self.name.attempt, reason=reason))

    def finish(self, outcome: JobState, reason: str, seconds: float | None) -> None:
        """Note the outcome, then end the job; raises ClaimLost, ValueError on a state that is no end."""
        at = self.queue.clock() / 1e9
        if outcome not in ENDED:
            raise ValueError(f"{outcome} is not an end")
        event = Ended.model_validate(
            {"at": at, "attempt": self.name.attempt, "outcome": outcome, "reason": reason, "seconds": seconds}
        )
        self.note(event)
        if self.name.claimer is None:
            raise self.lost()
        self.move(self.name.ending(self.name.claimer, outcome))
        self.queue.complete(self.name)


class FileHold:
    """See `slidehook.jobs.queue.Hold`."""

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

    def note_result(self, result_id: int | str, version_id: int | str) -> None:
        """Note which result DPAT stored for the job."""
        self._held.note_result(result_id, version_id)

    def release(self) -> None:
        """Make the job claimable."""
        self._held.move(self._held.name.waiting())

    def withdraw(self) -> None:
        """Take back a job that was not acknowledged: it leaves no trace."""
        self._queue._drop_aliases(self.job)  # noqa: SLF001 - one module, one protocol
        self._held.remove()
