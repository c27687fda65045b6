"""A share that is cut off between a step and its answer strands no job, and lets none run twice that has ended."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slidehook.errors import QueueError
from slidehook.jobs.files import owned_file as ownedfile
from slidehook.jobs.files import source
from slidehook.jobs.files.admin import FileQueueAdmin
from slidehook.jobs.files.durable import rename
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import ORPHANED_WAIT_S, FileClaim, FileSource
from slidehook.jobs.job import Job, JobState
from tests.jobs.making import Clock, make_job

AWAY = OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
REFUSED = OSError(errno.EINVAL, os.strerror(errno.EINVAL))


class Worker:
    """A process that works on a queue."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self.queue = FileQueue(root, "work", clock=clock)
        self.source = FileSource(self.queue, max_attempts=3, take_over_every_s=0)

    def claim(self) -> FileClaim:
        claim = self.source.claim()
        assert claim is not None
        return claim

    def close(self) -> None:
        self.source.close()
        self.queue.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def new_worker(tmp_path: Path, clock: Clock) -> Iterator[Callable[[], Worker]]:
    made = []

    def make() -> Worker:
        made.append(Worker(tmp_path / "queue", clock))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def worker(new_worker: Callable[[], Worker]) -> Worker:
    return new_worker()


@pytest.fixture
def web(tmp_path: Path, clock: Clock) -> Iterator[FileQueue]:
    queue = FileQueue(tmp_path / "queue", "web", clock=clock)
    yield queue
    queue.close()


def state_of(web: FileQueue, job: Job) -> JobState:
    return FileQueueAdmin(web).show(job.id)[0].state


@pytest.mark.parametrize("answer", [AWAY, FileNotFoundError()], ids=["error", "asked-again"])
def test_a_claim_whose_answer_was_lost_is_claimed_again_as_the_same_attempt(
    web: FileQueue, worker: Worker, clock: Clock, monkeypatch: pytest.MonkeyPatch, answer: OSError
) -> None:
    job = web.put(make_job())
    with monkeypatch.context() as cut:

        def renamed_all_the_same(before: str, after: str) -> None:
            rename(before, after)
            raise answer

        cut.setattr(source, "rename", renamed_all_the_same)
        try:
            assert worker.source.claim() is None
        except QueueError:
            assert answer is AWAY
    assert state_of(web, job) is JobState.ACTIVE
    assert worker.source.claim() is None
    clock.move(ORPHANED_WAIT_S)
    claim = worker.claim()
    assert (claim.job.id, claim.attempt) == (job.id, 1)


@pytest.mark.parametrize("step", ["append", "rename", "read_whole"])
def test_a_job_that_could_not_be_ended_ends_as_it_was_to_and_does_not_run_again(
    web: FileQueue, worker: Worker, clock: Clock, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    job = web.put(make_job())
    claim = worker.claim()
    with monkeypatch.context() as cut:

        def away(*_: object) -> None:
            raise AWAY

        cut.setattr(ownedfile, step, away)
        with pytest.raises(QueueError):
            claim.finish(JobState.DONE, "found 42", 3.0)
        assert worker.source.claim() is None
    assert state_of(web, job) in {JobState.ACTIVE, JobState.ENDING}
    assert worker.source.claim() is None
    summary, record = FileQueueAdmin(web).show(job.id)
    assert (summary.state, summary.attempt) == (JobState.DONE, 1)
    assert record.events[-1].model_dump()["reason"] == "found 42"
    clock.move(ORPHANED_WAIT_S)
    assert worker.source.claim() is None


def test_a_claim_broken_off_by_an_error_is_an_attempt_and_the_job_waits_again(
    web: FileQueue, worker: Worker, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = web.put(make_job())
    claim = worker.claim()
    with monkeypatch.context() as cut:

        def away(*_: object) -> list[str]:
            raise AWAY

        cut.setattr(os, "listdir", away)
        with pytest.raises(QueueError):
            claim.check()
    assert worker.source.claim() is None
    clock.move(ORPHANED_WAIT_S)
    again = worker.claim()
    assert (again.job.id, again.attempt) == (job.id, 2)
    assert "lost touch" in again.last_reason


def test_a_job_that_this_host_may_not_open_holds_up_no_other_and_goes_to_another_host(
    web: FileQueue, new_worker: Callable[[], Worker], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused, other = web.put(make_job()), web.put(make_job())
    here, elsewhere = new_worker(), new_worker()
    with monkeypatch.context() as lease:
        lease.setattr(source, "read_whole", _refuse)
        lease.setattr(ownedfile, "append", _refuse)
        with pytest.raises(QueueError):
            here.source.claim()
    assert state_of(web, refused) is JobState.ACTIVE
    assert here.claim().job.id == other.id
    clock.move(ORPHANED_WAIT_S)
    claim = elsewhere.claim()
    assert (claim.job.id, claim.attempt) == (refused.id, 1)


def test_a_take_over_that_was_broken_off_is_gone_on_with(
    web: FileQueue, new_worker: Callable[[], Worker], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = web.put(make_job())
    dead, living = new_worker(), new_worker()
    dead.claim()
    dead.close()
    with monkeypatch.context() as cut:
        cut.setattr(ownedfile, "append", _refuse)
        with pytest.raises(QueueError):
            living.source.claim()
    assert living.source.claim() is None
    clock.move(ORPHANED_WAIT_S)
    claim = living.claim()
    assert (claim.job.id, claim.attempt) == (job.id, 2)


def test_claims_at_work_and_jobs_still_held_by_this_process_are_left_alone(worker: Worker, clock: Clock) -> None:
    worker.queue.hold(make_job())
    worker.queue.put(make_job())
    claim = worker.claim()
    clock.move(ORPHANED_WAIT_S)
    assert worker.source.claim() is None
    claim.check()
    assert (claim.attempt, state_of(worker.queue, claim.job)) == (1, JobState.ACTIVE)


def _refuse(*_: object) -> None:
    raise REFUSED


def test_what_is_left_of_a_put_that_died_is_removed_also_when_the_share_is_away_for_a_moment(
    web: FileQueue, worker: Worker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    web.hold(make_job("S-1"))
    web.close()
    for each in (tmp_path / "queue" / "aliases").glob("*/*"):
        each.unlink()
    [left] = (tmp_path / "queue" / "active").iterdir()
    os.truncate(left, 20)

    def away(_: str) -> bytes:
        raise AWAY

    with monkeypatch.context() as patched:
        patched.setattr(source, "read_whole", away)
        with pytest.raises(QueueError):
            worker.source.claim()

    assert worker.source.claim() is None
    assert FileQueueAdmin(worker.queue).counts()["damaged"] == 0
    assert list((tmp_path / "queue" / "active").iterdir()) == []
