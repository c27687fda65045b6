"""The queue on disk: the worker's side of it."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from enum import Enum, auto

import structlog
from pydantic import JsonValue

from slidehook.errors import ClaimLost, JobDamaged, QueueError
from slidehook.jobs.files.claimers import LivenessMonitor, rank
from slidehook.jobs.files.durable import read_whole, remove, rename
from slidehook.jobs.files.names import JobName
from slidehook.jobs.files.notes import NoteKind
from slidehook.jobs.files.owned_file import Disk, OwnedFile, complete, set_aside
from slidehook.jobs.files.queue import FileQueue, queue_errors
from slidehook.jobs.files.waiting import Shard, WaitingJobs, walk
from slidehook.jobs.files.watch import QueueWatch
from slidehook.jobs.job import AttemptEnded, Claimed, Ended, Job, JobRecord, JobState, parse_record
from slidehook.jobs.rules import DEATH_BACKOFF, NEVER_NS, death_of

TAKE_OVER_EVERY_S = 0.5
"""Seconds between two looks for dead claimers' jobs."""
ATTEMPTS_MOST = 999_999
"""The largest attempt number that fits into a file's name."""
ORPHANED_WAIT_S = 2.0
"""How long a job waits whose last operation by this process had an unknown outcome."""


log = structlog.get_logger()


class FileSource:
    """The jobs of a queue as a worker sees them. For one thread. See `slidehook.jobs.contract.JobSource`.

    `apps`: the ids of the apps that this worker can run; jobs of others stay for other workers. None: all.
    """

    def __init__(
        self,
        queue: FileQueue,
        *,
        max_attempts: int,
        apps: frozenset[str] | None = None,
        liveness: LivenessMonitor | None = None,
        take_over_every_s: float = TAKE_OVER_EVERY_S,
    ) -> None:
        self._queue = queue
        self._apps = apps
        self._disk = queue.disk
        self._layout = queue.layout
        self._max_attempts = max_attempts
        self._liveness = liveness or LivenessMonitor(queue.layout.root)
        self._watch = QueueWatch(queue.layout)
        self._room = WaitingJobs(queue.layout.waiting, trust_times=not self._disk.remote, shard=self._shard)
        self._take_over_every_s = take_over_every_s
        self._looked_at = float("-inf")
        self._claims: dict[str, FileClaim] = {}
        self._being_taken_over: set[str] = set()
        self._refused: set[str] = set()
        """Paths of files that can't be renamed, as reported in the log."""

    def close(self) -> None:
        """Stop watching the directory."""
        self._watch.close()

    def claim(self) -> FileClaim | None:
        """Take the first job by priority and age, or a dead worker's; None when there is none."""
        with queue_errors("can't be claimed from"):
            self._wake_parked()
            if time.monotonic() - self._looked_at >= self._take_over_every_s:
                self._take_over()
                self._looked_at = time.monotonic()
            for path, name in self._room.first():
                if self._apps is not None and name.app_id not in self._apps:
                    continue
                mine = name.active(self._queue.claimer.id, min(name.attempt + 1, ATTEMPTS_MOST))
                renamed = False
                with self._passing_over(path):
                    renamed = _renamed(path, self._layout.path(mine))
                    if not renamed:
                        self._room.lost()
                if not renamed:
                    continue
                self._room.took()
                if (claim := self._open(mine)) is not None:
                    self._watch.busy()
                    self._claims[name.job_id] = claim
                    return claim
        return None

    def _shard(self) -> Shard:
        return Shard(*rank(self._layout.root, self._queue.claimer.id))

    def _open(self, name: JobName) -> FileClaim | None:
        """Read a job that is ours now; a file that can't be read is set aside, which is logged."""
        file = OwnedFile(self._disk, name)
        if (record := self._read(file)) is None:
            return None
        if any(isinstance(each, Ended) for each in record.events):  # tried again by an operator, who may have died
            self._disk.aliases.restore(file.path, record.job)
        if not record.is_claimed(name.attempt):
            with contextlib.suppress(OSError, ClaimLost):  # the history has a gap, but the job runs
                file.append(Claimed(at=self._disk.clock() / 1e9, attempt=name.attempt, claimer=name.claimer or ""))
        return FileClaim(self._disk, file, record, exhausted=name.attempt > self._max_attempts)

    def _read(self, file: OwnedFile) -> JobRecord | None:
        """Read a job that is ours now; returns None, with the file out of the way, if it can't be worked on."""
        content = None
        try:
            content = read_whole(file.path)
            record = parse_record(content)
            if (record.job.id, record.job.app_id) != (file.name.job_id, file.name.app_id):
                raise JobDamaged(f"the file is of job {record.job.id} for the app {record.job.app_id}")
            if not os.access(file.path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except JobDamaged as error:
            begun = content is not None and b"\n" not in content
            if file.name.attempt == 0 and begun and os.stat(file.path).st_nlink == 1:
                # Its webserver died while writing: it has no alias, so it was never acknowledged.
                remove(file.path)
            else:
                set_aside(self._disk, file.path, str(file.name), error)
            return None
        except PermissionError as error:
            self._refuse(file, error)
            return None
        if file.name.attempt == 0 and self._was_not_told_of(record):
            file.withdraw()
            return None
        return record

    def _refuse(self, file: OwnedFile, why: PermissionError) -> None:
        """Let a file wait that can't be opened now, as after a lost connection; in the end set it aside."""
        if file.name.attempt > self._max_attempts:
            set_aside(self._disk, file.path, str(file.name), why)
            return
        log.warning("a job's file can't be opened, again later", job=file.name.job_id, reason=why.strerror)
        file.to_parked(self._disk.clock() + round(ORPHANED_WAIT_S * 1e9))

    @contextlib.contextmanager
    def _passing_over(self, path: str) -> Iterator[None]:
        """Skip a file that is gone, or that can't be renamed although its folder is writable; log the latter once."""
        try:
            yield
        except FileNotFoundError:
            pass  # another worker was faster
        except PermissionError as error:
            if not os.access(os.path.dirname(path), os.W_OK):
                raise
            if path not in self._refused:
                log.error("a job's file can't be moved", file=path, reason=error.strerror)
            self._refused.add(path)

    def _was_not_told_of(self, record: JobRecord) -> bool:
        """Return whether a held job has a live twin: its process died before it found the twin."""
        if record.ended or self._disk.notes.newest(record.job.id, NoteKind.UNWANTED):  # these give their key away
            return False
        twin = self._disk.aliases.live(record.job.key)
        return twin is not None and twin.job.id != record.job.id

    def _wake_parked(self) -> None:
        now_ns = self._disk.clock()
        for name in self._layout.names(JobState.PARKED):
            if name.wake_ns is None or name.wake_ns > now_ns:
                return
            with self._passing_over(self._layout.path(name)):
                self._disk.enqueuer.enter(self._layout.path(name), name.waiting())

    def _take_over(self) -> None:
        """Take over the jobs of dead claimers: a held or running job waits again, an ending one is ended."""
        mine = self._queue.claimer.id
        names = [name for state in (JobState.ACTIVE, JobState.ENDING) for name in self._layout.names(state)]
        self._claims = {key: claim for key, claim in self._claims.items() if claim.status is not ClaimStatus.OVER}
        for name in names:
            if name.claimer == mine and self._is_orphaned(name):
                with contextlib.suppress(OSError, ClaimLost):  # else at the next look: nothing else waits for it
                    self._recover(name)
        left = [name for name in names if name.claimer != mine]
        dead = self._liveness.dead({name.claimer for name in left if name.claimer})
        for name in left:
            if name.claimer in dead:
                self._being_taken_over.add(name.job_id)
                with self._passing_over(self._layout.path(name)):
                    self._take_over_job(name, mine)
                self._being_taken_over.discard(name.job_id)

    def _is_orphaned(self, name: JobName) -> bool:
        """Return whether a job has this process's name although nothing here works on it.

        That happens when the network loses the answer to a successful rename, or interrupts one of several steps. A
        job that this process put and has not released was never claimed.
        """
        claim = self._claims.get(name.job_id)
        if claim is not None:
            return claim.status is ClaimStatus.BROKEN
        return name.attempt > 0 or name.job_id in self._being_taken_over

    def _recover(self, name: JobName) -> None:
        """End an orphaned job as its claim wanted to, or else let it wait again after a while."""
        if name.outcome is not None:
            complete(self._disk, name)
            return
        file = OwnedFile(self._disk, name)
        claim = self._claims.get(name.job_id)
        if claim is not None and claim.wanted is not None:
            file.finish(*claim.wanted)
            return
        if name.attempt == 0 and self._read(file) is None:
            return
        with contextlib.suppress(OSError):  # after a lost connection a share may refuse to open it here
            file.note_attempt_ended("the worker lost touch with the queue")
        begun = claim is not None or name.job_id in self._being_taken_over
        wake_ns = self._disk.clock() + round(ORPHANED_WAIT_S * 1e9)
        file.to_parked(wake_ns, attempt=name.attempt if begun else name.attempt - 1)
        self._being_taken_over.discard(name.job_id)

    def _take_over_job(self, name: JobName, mine: str) -> None:
        if name.outcome is not None:
            after = name.ending(mine, name.outcome)
            rename(self._layout.path(name), self._layout.path(after))
            complete(self._disk, after)
            return
        after = name.active(mine, name.attempt)
        rename(self._layout.path(name), self._layout.path(after))
        file = OwnedFile(self._disk, after)
        if (record := self._read(file)) is None:
            return
        if record.outcome is not None:  # it died on the way to the end, when the slide had been told
            file.end_as_noted(record.outcome)
            return
        self._disk.aliases.restore(file.path, record.job)  # it may have died before it made them
        file.note_attempt_ended(death_of(name.claimer or ""), claimer=name.claimer)
        wait_s = DEATH_BACKOFF.wait_s(name.attempt - 1)
        if wait_s > 0:
            file.to_parked(self._disk.clock() + round(wait_s * 1e9))
        else:
            file.to_waiting()

    def wait(self, timeout_s: float) -> None:
        """Return when there may be work, or after `timeout_s` seconds."""
        with queue_errors("can't be watched"):
            first = next(self._layout.names(JobState.PARKED), None)
        if first is not None and first.wake_ns is not None:
            timeout_s = min(timeout_s, max(0.0, (first.wake_ns - self._disk.clock()) / 1e9))
        self._watch.wait(timeout_s)

    def unfinished(self) -> int:
        """Count the jobs that have not ended, but for those that only a new request can wake."""
        with queue_errors("can't be counted"):
            states = (JobState.ACTIVE, JobState.PARKED, JobState.ENDING)
            names = [name for state in states for name in self._layout.names(state) if name.wake_ns != NEVER_NS]
            waiting = (text for _, texts in walk(self._layout.waiting) for text in texts)
            return len(names) + sum(JobName.parse(JobState.WAITING, text) is not None for text in waiting)


class ClaimStatus(Enum):
    """The status of a claim."""

    LIVE = auto()
    OVER = auto()
    BROKEN = auto()
    """The queue could not be reached; the source recovers the job when it can be reached again."""


class FileClaim:
    """See `slidehook.jobs.contract.Claim`. A method that raised QueueError, but not ClaimLost, may be called again.

    If the worker instead claims its next job, the source recovers this one.
    """

    def __init__(self, disk: Disk, file: OwnedFile, record: JobRecord, *, exhausted: bool) -> None:
        self._disk = disk
        self._file = file
        self.record = record
        self.exhausted = exhausted
        self._secret_note = ""
        self._parked = False
        self.status = ClaimStatus.LIVE
        self.wanted: tuple[JobState, str, float | None, str] | None = None
        """The arguments of a `finish` that failed."""

    @contextlib.contextmanager
    def _acting(self, what: str, *, last: bool = False) -> Iterator[None]:
        """Translate errors, and update the claim's status; `last`: the claim is over afterwards."""
        try:
            with queue_errors(what):
                yield
        except ClaimLost:
            self.status = ClaimStatus.OVER
            raise
        except QueueError:
            if self.status is ClaimStatus.LIVE:
                self.status = ClaimStatus.BROKEN
            raise
        if last:
            self.status = ClaimStatus.OVER

    @property
    def job(self) -> Job:
        """The job."""
        return self.record.job

    @property
    def attempt(self) -> int:
        """The attempt's number, from 1."""
        return self._file.name.attempt

    @property
    def last_reason(self) -> str:
        """Why the attempt before this one ended without an outcome; empty when there was none."""
        ended = [each.reason for each in self.record.events if isinstance(each, AttemptEnded)]
        return ended[-1] if ended else ""

    def check(self) -> None:
        """Prove that the claim is still this worker's own; raises ClaimLost."""
        with self._acting("can't be read"):
            self._file.check()

    def secret(self) -> str | None:
        """Return the newest secret for the job's system; None when the job has no secret any more."""
        with self._acting("can't be read"):
            self._secret_note, newest = self._disk.notes.newest_content(self.job.id, NoteKind.SECRET)
        return newest or (self.job.secret if self.job.has_secret else None)

    def cancel_wanted(self) -> bool:
        """Return whether the job was cancelled, and the same work was not requested since."""
        with self._acting("can't be read"):
            cancel = self._disk.notes.newest(self.job.id, NoteKind.CANCEL)
            return cancel > self._disk.notes.newest(self.job.id, NoteKind.SECRET)

    def unwanted(self) -> bool:
        """Whether `stop_unwanted` stopped the job."""
        with self._acting("can't be read"):
            return self._disk.notes.newest(self.job.id, NoteKind.UNWANTED) != ""

    def note(self, noted: dict[str, JsonValue]) -> None:
        """Store what a later attempt must find again; raises ClaimLost."""
        with self._acting("can't be written to"):
            self._file.note(noted)

    def retry(self, reason: str, delay_s: float, *, counted: bool = True, trace: str = "") -> None:
        """Give the job back: it waits for `delay_s` seconds, then may be claimed again; raises ClaimLost."""
        with self._acting("can't take the job back", last=True):
            self._file.note_attempt_ended(reason, trace=trace)
            wake_ns = self._disk.clock() + round(delay_s * 1e9)
            self._file.to_parked(wake_ns, attempt=self.attempt if counted else self.attempt - 1)

    def park(self, reason: str) -> None:
        """Give the job back until the same work is asked for again, or was since `secret`; raises ClaimLost."""
        with self._acting("can't take the job back", last=True):
            if not self._parked:  # else an earlier try came that far
                if not self._parked_before(reason):
                    self._file.note_attempt_ended(reason)
                self._file.to_parked(NEVER_NS, attempt=self.attempt - 1)
                self._parked = True
            if self._disk.notes.newest(self.job.id, NoteKind.SECRET) != self._secret_note:
                # It came after the worker had looked, and before whoever left it could see the job parked.
                with contextlib.suppress(FileNotFoundError):
                    self._disk.enqueuer.enter(self._file.path, self._file.name.waiting())
            self._parked = False

    def _parked_before(self, reason: str) -> bool:
        """Return whether the last event is the same: it is recorded once, however often the job is woken."""
        last = self.record.events[-1] if self.record.events else None
        if self.record.noted is None or not isinstance(last, AttemptEnded):
            return False
        return (last.attempt, last.reason, last.claimer) == (self.attempt, reason, None)

    def give_back(self) -> None:
        """Let another worker have the job at once, as if this attempt had not been; raises ClaimLost."""
        with self._acting("can't take the job back", last=True):
            self._file.note_attempt_ended("the worker left")
            self._file.to_waiting(attempt=self.attempt - 1)

    def finish(self, outcome: JobState, reason: str = "", seconds: float | None = None, *, trace: str = "") -> None:
        """End the job as done, failed or cancelled; raises ClaimLost."""
        try:
            with self._acting("can't end the job", last=True):
                self._file.finish(outcome, reason, seconds, trace)
        except QueueError:
            self.wanted = (outcome, reason, seconds, trace)
            raise


def _renamed(source: str, target: str) -> bool:
    """Rename; False when another claimer was faster."""
    try:
        rename(source, target)
    except FileNotFoundError:
        return False
    return True
