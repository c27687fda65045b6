"""Taking jobs in, with any system: here one that the test plays."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import JsonValue

from slidehook.errors import SystemUnavailable
from slidehook.jobs.job import Job, JobRecord, JobState
from slidehook.jobs.memory import MemoryQueue, MemorySink
from slidehook.jobs.taking_in import EarlierRequestPending, announce, hold_or_join
from tests.jobs.making import make_job

WAIT_S = 60.0


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


@pytest.fixture
def sink(queue: MemoryQueue) -> MemorySink:
    return queue.sink()


def no_proof(record: JobRecord) -> None:
    raise AssertionError(f"nobody is there: {record.job.id}")


def states(queue: MemoryQueue) -> list[JobState]:
    return [each.state for each in queue.admin().list()]


def test_a_new_job_is_shown_and_then_claimable(queue: MemoryQueue, sink: MemorySink) -> None:
    hold, _ = hold_or_join(sink, make_job("a"), no_proof, wait_s=WAIT_S)
    assert hold is not None

    def show() -> dict[str, JsonValue]:
        assert queue.source().claim() is None
        return {"id": "7"}

    announce(hold, show, may_be_shown=lambda _: False)
    claim = queue.source().claim()
    assert claim is not None
    assert claim.record.noted == {"id": "7"}


@pytest.mark.parametrize("may_be_shown", [True, False])
def test_a_job_that_can_not_be_shown_stays_only_if_it_may_be_shown_all_the_same(
    queue: MemoryQueue, sink: MemorySink, may_be_shown: bool
) -> None:
    hold, _ = hold_or_join(sink, make_job("a"), no_proof, wait_s=WAIT_S)
    assert hold is not None

    def show() -> dict[str, JsonValue]:
        raise SystemUnavailable("away")

    with pytest.raises(SystemUnavailable):
        announce(hold, show, may_be_shown=lambda error: may_be_shown and isinstance(error, SystemUnavailable))
    assert states(queue) == ([JobState.WAITING] if may_be_shown else [])


def test_a_proven_request_joins_the_work_and_an_unproven_one_changes_nothing(
    queue: MemoryQueue, sink: MemorySink
) -> None:
    sink.hold(make_job("a", token="first")).release()
    newer = make_job("a", token="second")

    def refuse(_: JobRecord) -> None:
        raise SystemUnavailable("who are you?")

    with pytest.raises(SystemUnavailable):
        hold_or_join(sink, newer, refuse, wait_s=WAIT_S)
    claim = queue.source().claim()
    assert claim is not None
    assert claim.secret() == "first"
    assert hold_or_join(sink, newer, lambda twin: twin.job.slide_id, wait_s=WAIT_S) == (None, "a")
    assert claim.secret() == "second"


@pytest.mark.parametrize("withdrawn", [True, False])
def test_a_request_waits_until_an_earlier_one_is_taken_in_or_withdrawn(
    sink: MemorySink, monkeypatch: pytest.MonkeyPatch, withdrawn: bool
) -> None:
    earlier = sink.hold(make_job("a"))
    looked, peek = threading.Event(), sink.peek

    def looking(job: Job) -> JobRecord | None:
        looked.set()
        return peek(job)

    monkeypatch.setattr(sink, "peek", looking)
    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(hold_or_join, sink, make_job("a"), lambda twin: twin.job.id, wait_s=WAIT_S)
        assert looked.wait(WAIT_S)
        assert not later.done()
        if withdrawn:
            earlier.withdraw()
            hold, _ = later.result(WAIT_S)
            assert hold is not None
            assert not hold.coalesced
        else:
            earlier.release()
            assert later.result(WAIT_S) == (None, earlier.job.id)


def test_a_request_does_not_wait_for_ever(sink: MemorySink) -> None:
    sink.hold(make_job("a"))
    with pytest.raises(EarlierRequestPending):
        hold_or_join(sink, make_job("a"), no_proof, wait_s=0.0)


def test_of_many_requests_at_once_one_starts_the_work(queue: MemoryQueue) -> None:
    start = threading.Barrier(8)

    def ask() -> bool:
        sink = queue.sink()
        start.wait(WAIT_S)
        hold, _ = hold_or_join(sink, make_job("a"), lambda twin: twin.job.id, wait_s=WAIT_S)
        if hold is None:
            return False
        announce(hold, lambda: {"id": 1}, may_be_shown=lambda _: False)
        return True

    with ThreadPoolExecutor(8) as pool:
        started = [each.result(WAIT_S) for each in [pool.submit(ask) for _ in range(8)]]
    assert started.count(True) == 1
    assert states(queue) == [JobState.WAITING]
