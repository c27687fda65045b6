"""The queue on disk: the worker's side of it."""

from __future__ import annotations

import contextlib
import random
import time
from dataclasses import replace
from pathlib import Path

from slidehook.errors import JobDamaged
from slidehook.jobs.claimers import Obituaries
from slidehook.jobs.filequeue import FileQueue, OwnedFile
from slidehook.jobs.job import AttemptEnded, Job, JobRecord, JobState, parse_record
from slidehook.jobs.names import JobName
from slidehook.jobs.watch import QueueWatch

TAKE_OVER_EVERY_S = 0.5
"""Seconds between two looks for dead claimers' jobs."""
BACK_OFF_S = 2.0
"""What the wait after a second attempt that killed its worker is about; it doubles with each further one."""
BACK_OFF_MOST_S = 300.0


def back_off_s(attempt: int, chance: float) -> float:
    """Say how long a job waits after `attempt` killed its worker: not at all the first time, then growing.

    `chance` (0…1) spreads the wait by half to one and a half.
    """
    if attempt <= 1:
        return 0.0
    return float(min(BACK_OFF_S * 2 ** (attempt - 2), BACK_OFF_MOST_S) * (0.5 + chance))


class FileSource:
    """The jobs of a queue as a worker sees them. For one thread. See `slidehook.jobs.queue.JobSource`."""

    def __init__(self, queue: FileQueue, *, max_attempts: int, obituaries: Obituaries | None = None) -> None:
        self._queue = queue
        self._max_attempts = max_attempts
        self._obituaries = obituaries or Obituaries(queue.layout.root)
        self._watch = QueueWatch(queue.layout)
        self._looked_at = float("-inf")

    def close(self) -> None:
        """Stop watching the directory."""
        self._watch.close()

    def claim(self) -> FileClaim | None:
        """Take the first job by priority and age, or a dead worker's; None when there is none."""
        self._wake_parked()
        if time.monotonic() - self._looked_at >= TAKE_OVER_EVERY_S:
            self._looked_at = time.monotonic()
            self._take_over()
        for path, name in self._queue.room.first():
            mine = name.active(self._queue.claimer.id, name.attempt + 1)
            if not _renamed(path, self._queue.layout.active / str(mine)):
                continue
            self._queue.room.took()
            if (claim := self._open(mine)) is not None:
                self._watch.busy()
                return claim
        return None

    def _open(self, name: JobName) -> FileClaim | None:
        file = OwnedFile(self._queue, name)
        try:
            record = parse_record(file.path.read_bytes())
            if record.job.id != name.job_id:
                raise JobDamaged("the job's file has another job's name")
        except JobDamaged:
            file.path.rename(self._queue.layout.damaged / f"{self._queue.clock():016x}.{name.job_id}")
            return None
        return FileClaim(self._queue, file, record, exhausted=name.attempt > self._max_attempts)

    def _wake_parked(self) -> None:
        now_ns = self._queue.clock()
        for text in self._queue.layout.names(JobState.PARKED):
            name = JobName.parse(JobState.PARKED, text)
            if name is None or name.wake_ns is None:
                continue
            if name.wake_ns > now_ns:
                return
            with contextlib.suppress(FileNotFoundError):
                self._queue.room.enter(self._queue.layout.parked / text, name.waiting())

    def _take_over(self) -> None:
        """Bring back what dead claimers left: a held or running job waits again, an ending one is ended."""
        mine = self._queue.claimer.id
        left = [
            name
            for state in (JobState.ACTIVE, JobState.ENDING)
            for text in self._queue.layout.names(state)
            if (name := JobName.parse(state, text)) is not None and name.claimer != mine
        ]
        dead = self._obituaries.dead({name.claimer for name in left if name.claimer})
        for name in left:
            if name.claimer in dead:
                self._inherit(name)

    def _inherit(self, name: JobName) -> None:
        source = self._queue.layout.folder(name.state) / str(name)
        if name.state is JobState.ENDING and name.outcome is not None:
            after = name.ending(self._queue.claimer.id, name.outcome)
            if _renamed(source, self._queue.layout.ending / str(after)):
                self._queue.complete(after)
            return
        after = name.active(self._queue.claimer.id, name.attempt)
        if not _renamed(source, self._queue.layout.active / str(after)):
            return
        file = OwnedFile(self._queue, after)
        role = (name.claimer or "").partition("-")[0]
        file.note_attempt_ended(f"the {role} process {name.claimer} died")
        wait_s = back_off_s(name.attempt, random.random())  # noqa: S311 - spreads retries, guards nothing
        if wait_s > 0:
            file.move(after.parked(self._queue.clock() + round(wait_s * 1e9)))
        else:
            file.move(after.waiting())

    def wait(self, timeout_s: float) -> None:
        """Return when there may be work, or after `timeout_s` seconds."""
        parked = self._queue.layout.names(JobState.PARKED)
        name = JobName.parse(JobState.PARKED, parked[0]) if parked else None
        if name is not None and name.wake_ns is not None:
            timeout_s = min(timeout_s, max(0.0, (name.wake_ns - self._queue.clock()) / 1e9))
        self._watch.wait(timeout_s)

    def unfinished(self) -> int:
        """Count the jobs that have not ended."""
        return self._queue.unfinished()


class FileClaim:
    """See `slidehook.jobs.queue.Claim`."""

    def __init__(self, queue: FileQueue, file: OwnedFile, record: JobRecord, *, exhausted: bool) -> None:
        self._queue = queue
        self._file = file
        self.record = record
        self.exhausted = exhausted

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
        self._file.check()

    def token(self) -> str:
        """Give the newest callback token for the job."""
        notes = self._queue.notes(self.job, "token")
        return notes[-1].read_text(encoding="utf-8") if notes else self.job.callback_token

    def note_result(self, result_id: int | str, version_id: int | str) -> None:
        """Note which result DPAT stored for the job; raises ClaimLost."""
        self._file.note_result(result_id, version_id)

    def retry(self, reason: str, delay_s: float) -> None:
        """Give the job back: it waits for `delay_s` seconds, then may be claimed again; raises ClaimLost."""
        self._file.note_attempt_ended(reason)
        self._file.move(self._file.name.parked(self._queue.clock() + round(delay_s * 1e9)))

    def give_back(self) -> None:
        """Let another worker have the job at once, as if this attempt had not been; raises ClaimLost."""
        self._file.note_attempt_ended("the worker left")
        self._file.move(replace(self._file.name.waiting(), attempt=self.attempt - 1))

    def finish(self, outcome: JobState, reason: str = "", seconds: float | None = None) -> None:
        """End the job as done, failed or cancelled; raises ClaimLost."""
        self._file.finish(outcome, reason, seconds)


def _renamed(source: Path, target: Path) -> bool:
    """Rename; False when another claimer was faster."""
    try:
        source.rename(target)
    except FileNotFoundError:
        return False
    return True
