from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from slidehook.dpat.deleted_result import DeletedResult
from slidehook.errors import ClaimLost, ResultDeleted
from slidehook.jobs.contract import Claim
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import FileSource
from slidehook.jobs.job import Job, digest
from tests.e2e.running import wait_for
from tests.stopping import stop_deleted
from worker.claims import ClaimMonitor, JobCancelled, check_wanted
from worker.shutdown import Abandoned, Call, Interruption, TooSlow, WorkerLeaving, check_abandoned, kept

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
        ours.settimeout(120)
        leaving.run(lambda: ours.recv(1))


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
        begun: list[None] = []
        with pytest.raises(JobCancelled):
            leaving.run(lambda: begun.append(None))
        assert not begun, "a call began after the job was cancelled"


def test_what_was_said_of_one_job_is_nothing_to_the_next(
    queue: FileQueue, claim: Claim, leaving: Interruption
) -> None:
    queue.cancel(KEY)
    with pytest.raises(JobCancelled), ClaimMonitor(claim, leaving, every_s=SOON_S):
        wait_for_a_server_that_sends_nothing(leaving)
    leaving.check()
    assert leaving.run(lambda: "the next job") == "the next job"


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
        held.acquire(timeout=120)


def test_a_call_that_takes_too_long_is_abandoned(leaving: Interruption) -> None:
    began = time.monotonic()
    with pytest.raises(TooSlow):
        leaving.run(wait_for_a_lock, within_s=0.05)
    assert time.monotonic() - began < 60
    leaving.check()


def test_a_call_that_ends_in_time_is_not_disturbed_later(leaving: Interruption) -> None:
    for _ in range(200):
        with suppress(TooSlow):
            leaving.run(lambda: threading.Event().wait(0.001), within_s=0.001)
        leaving.check()


def test_a_call_returns_its_result_or_raises_its_error(leaving: Interruption) -> None:
    assert leaving.run(lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        leaving.run(lambda: 1 / 0)


def test_a_result_that_is_there_is_returned_whatever_came_meanwhile(leaving: Interruption) -> None:
    def work() -> str:
        leaving.drop(JobCancelled("cancelled"))
        return "stored"

    call = leaving.start(work)
    assert call.wait(120)
    assert call.result() == "stored"


def test_only_a_drop_abandons_a_call_that_does_not_leave(
    queue: FileQueue, claim: Claim, leaving: Interruption
) -> None:
    with ClaimMonitor(claim, leaving, every_s=SOON_S):
        os.kill(os.getpid(), signal.SIGTERM)
        assert leaving.run(lambda: "it goes on", leave=False)
    assert leaving.asked
    queue.cancel(KEY)
    with pytest.raises(JobCancelled), ClaimMonitor(claim, leaving, every_s=SOON_S):
        leaving.run(wait_for_a_lock, leave=False)
    with pytest.raises(WorkerLeaving):
        leaving.check()


def test_an_abandoned_call_learns_it_at_its_next_step(leaving: Interruption) -> None:
    answered = threading.Event()
    ended: list[BaseException] = []

    def work() -> None:
        answered.wait(120)
        try:
            check_abandoned()
        except Abandoned as error:
            ended.append(error)

    with pytest.raises(TooSlow):
        leaving.run(work, within_s=0.2)
    answered.set()
    wait_for(lambda: bool(ended), "the abandoned call ends")


def test_who_waits_for_a_call_goes_on_with_its_other_duties_and_may_abandon_it(leaving: Interruption) -> None:
    class Enough(Exception):
        pass

    ticks: list[None] = []
    calls: list[Call[None]] = []
    start = leaving.start

    def tick() -> None:
        ticks.append(None)
        if len(ticks) == 3:
            raise Enough

    def started(work: Callable[[], None]) -> Call[None]:
        calls.append(start(work))
        return calls[0]

    leaving.start = started  # type: ignore[method-assign, assignment]
    with pytest.raises(Enough):
        leaving.run(wait_for_a_lock, tick=tick)
    assert calls[0].abandoned


def test_a_call_that_is_being_noted_is_abandoned_only_afterwards(leaving: Interruption) -> None:
    noting, go_on = threading.Event(), threading.Event()
    noted: list[str] = []

    def work() -> None:
        with kept():
            noting.set()
            go_on.wait(120)
            noted.append("first")
        with kept():
            noted.append("second")

    call = leaving.start(work)
    assert noting.wait(120)
    abandoning = threading.Thread(target=call.abandon)
    abandoning.start()
    abandoning.join(0.1)
    assert abandoning.is_alive(), "it did not wait for the note"
    go_on.set()
    abandoning.join(120)
    assert call.wait(120)
    assert noted[0] == "first"
    assert len(noted) == 2 or isinstance(call.error, Abandoned)


def test_an_abandoned_calls_pause_ends_at_once(leaving: Interruption) -> None:
    begun = threading.Event()

    def work() -> None:
        begun.set()
        leaving.pause(60)

    call = leaving.start(work)
    assert begun.wait(120)
    call.abandon()
    assert call.wait(120)
    assert isinstance(call.error, Abandoned)


def test_a_pause_of_another_thread_ends_with_the_job(leaving: Interruption) -> None:
    ended = threading.Event()

    def pause() -> None:
        with suppress(JobCancelled):
            leaving.pause(60)
        ended.set()

    threading.Thread(target=pause, daemon=True).start()
    leaving.drop(JobCancelled("cancelled"))
    assert ended.wait(120)
