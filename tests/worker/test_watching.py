from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import suppress

import pytest

from slidehook.dpat.deleted_result import DeletedResult
from slidehook.dpat.errors import DpatTimeout
from slidehook.errors import ClaimLost
from slidehook.jobs.contract import Claim
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import FileSource
from slidehook.jobs.job import Job, digest
from tests.stopping import stop_deleted
from worker.claim_monitor import ClaimMonitor, JobCancelled, ResultDeleted, check_wanted
from worker.shutdown import Interruption, WorkerLeaving

SOON_S = 0.02
KEY = digest("the-cancellation")


@pytest.fixture
def claim(queue: FileQueue, source: FileSource, job: Job) -> Claim:
    queue.put(job.model_copy(update={"cancellation_key": KEY}))
    claim = source.claim()
    assert claim is not None
    return claim


def delete(queue: FileQueue, job: Job) -> None:
    deleted = DeletedResult(job.address, job.app_id, job.slide_id, 1, whole_slide=True, shown_by=job.id)
    assert stop_deleted(queue, deleted)


def wait_for_a_server_that_sends_nothing(leaving: Interruption) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(10)
        with leaving.interruptible():
            ours.recv(1)


def told(leaving: Interruption, *, looks: int = 1000) -> bool:
    """Look now and then whether the job is to be dropped."""
    for _ in range(looks):
        time.sleep(0.01)
        try:
            leaving.check()
        except JobCancelled:
            return True
    return False


def test_a_cancelled_job_is_dropped_in_the_middle_of_a_wait(
    queue: FileQueue, claim: Claim, leaving: Interruption
) -> None:
    queue.cancel(KEY)
    with pytest.raises(JobCancelled), ClaimMonitor(claim, leaving, every_s=SOON_S):
        wait_for_a_server_that_sends_nothing(leaving)


def test_a_job_whose_result_was_deleted_is_dropped(
    queue: FileQueue, claim: Claim, leaving: Interruption, job: Job
) -> None:
    delete(queue, job)
    with pytest.raises(ResultDeleted), ClaimMonitor(claim, leaving, every_s=SOON_S):
        wait_for_a_server_that_sends_nothing(leaving)


def test_a_lost_claim_is_dropped(claim: Claim, leaving: Interruption) -> None:
    claim.give_back()
    with pytest.raises(ClaimLost), ClaimMonitor(claim, leaving, every_s=SOON_S):
        wait_for_a_server_that_sends_nothing(leaving)


def test_where_nothing_may_be_interrupted_the_next_look_tells(
    queue: FileQueue, claim: Claim, leaving: Interruption
) -> None:
    queue.cancel(KEY)
    with ClaimMonitor(claim, leaving, every_s=SOON_S):
        assert told(leaving)
        with pytest.raises(JobCancelled), leaving.interruptible():
            pytest.fail("what begins then must not begin")


def test_what_was_said_of_one_job_is_nothing_to_the_next(
    queue: FileQueue, claim: Claim, leaving: Interruption
) -> None:
    queue.cancel(KEY)
    with pytest.raises(JobCancelled), ClaimMonitor(claim, leaving, every_s=SOON_S):
        wait_for_a_server_that_sends_nothing(leaving)
    leaving.check()
    with leaving.interruptible():
        pass


def test_a_job_that_is_wanted_is_left_alone(claim: Claim, leaving: Interruption) -> None:
    with ClaimMonitor(claim, leaving, every_s=0.001):
        assert not told(leaving, looks=15)
    assert "watch" not in {each.name for each in threading.enumerate()}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_leave_stops_waiting(leaving: Interruption, number: signal.Signals) -> None:
    threading.Timer(0.05, os.kill, (os.getpid(), number)).start()
    with pytest.raises(WorkerLeaving):
        wait_for_a_server_that_sends_nothing(leaving)
    assert leaving.asked
    with pytest.raises(WorkerLeaving):
        leaving.pause(60)


def test_a_pause_between_two_tries_ends_when_the_worker_is_to_leave(leaving: Interruption) -> None:
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(WorkerLeaving):
        leaving.pause(60)


def test_a_deletion_goes_before_a_cancel(queue: FileQueue, claim: Claim, job: Job) -> None:
    check_wanted(claim)
    queue.cancel(KEY)
    with pytest.raises(JobCancelled):
        check_wanted(claim)
    delete(queue, job)
    with pytest.raises(ResultDeleted):
        check_wanted(claim)


def wait_for_a_lock() -> None:
    held = threading.Lock()
    with held:
        held.acquire(timeout=10)


def test_a_block_that_takes_too_long_is_broken_off(leaving: Interruption) -> None:
    began = time.monotonic()
    with pytest.raises(DpatTimeout), leaving.at_most(0.05, DpatTimeout("too long")):
        wait_for_a_lock()
    assert time.monotonic() - began < 5
    leaving.check()


def test_a_block_that_ends_in_time_is_not_disturbed_later(leaving: Interruption) -> None:
    for _ in range(200):
        with suppress(DpatTimeout), leaving.at_most(0.001, DpatTimeout("too long")):
            threading.Event().wait(0.001)
        leaving.check()
        assert "Timer" not in {type(each).__name__ for each in threading.enumerate()}


def test_what_is_droppable_alone_outlives_the_wish_that_the_worker_leaves(
    queue: FileQueue, claim: Claim, leaving: Interruption
) -> None:
    with ClaimMonitor(claim, leaving, every_s=SOON_S), leaving.droppable():
        os.kill(os.getpid(), signal.SIGTERM)
        done = "it goes on"
    assert done
    queue.cancel(KEY)
    with pytest.raises(JobCancelled), ClaimMonitor(claim, leaving, every_s=SOON_S), leaving.droppable():
        wait_for_a_lock()
    with pytest.raises(WorkerLeaving):
        leaving.check()


def test_a_pause_of_another_thread_ends_with_the_job(leaving: Interruption) -> None:
    ended = threading.Event()

    def pause() -> None:
        with suppress(JobCancelled):
            leaving.pause(60)
        ended.set()

    threading.Thread(target=pause, daemon=True).start()
    leaving.drop(JobCancelled("cancelled"))
    assert ended.wait(10)
