from __future__ import annotations

import pytest

from apps.wholeslide import WholeSlideDemo
from slidehook.errors import ClaimLost, Conflict, DpatUnavailable, NotFound, TokenExpired
from slidehook.geometry import Frame
from slidehook.iaapi.client import DpatClient
from slidehook.jobs.filequeue import FileQueue
from slidehook.jobs.job import Job
from slidehook.jobs.queue import Claim
from slidehook.jobs.source import FileSource
from slidehook.result import Result
from tests.iaapi.little_dpat import LittleDpat, Reply
from worker.publisher import Publisher, ResultDeletedByUser

RESULTS = "/applications/wholeslide/results"
ONE = f"{RESULTS}/1"
FRAME = Frame(2000, 1000)


class Clock:
    """Seconds, as the test says."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def claim(queue: FileQueue, source: FileSource, job: Job) -> Claim:
    queue.put(job)
    claim = source.claim()
    assert claim is not None
    return claim


@pytest.fixture
def publisher(claim: Claim, client: DpatClient, clock: Clock) -> Publisher:
    return Publisher(claim, WholeSlideDemo(), client, clock=clock)


def texts(dpat: LittleDpat) -> list[str]:
    """What the slide was told, in order."""
    return [call.json["displayResult"] for call in dpat.calls if call.method in {"POST", "PATCH"}]


def test_progress_is_shown_at_most_once_a_second_and_the_newest_wins(
    dpat: LittleDpat, publisher: Publisher, clock: Clock
) -> None:
    for percent in range(10):
        publisher.progress(percent, "computing")
    clock.now += 0.99
    publisher.flush()
    assert texts(dpat) == ["computing, 0 %"]
    clock.now += 0.01
    publisher.flush()
    publisher.flush()
    assert texts(dpat) == ["computing, 0 %", "computing, 9 %"]


def test_ten_seconds_of_steady_progress_are_ten_updates(dpat: LittleDpat, publisher: Publisher, clock: Clock) -> None:
    for step in range(40):
        clock.now = 100 + step * 0.25
        publisher.progress(step, "computing")
    assert len(texts(dpat)) == 10


def test_the_final_result_does_not_wait_and_nothing_comes_after_it_but_by_a_new_call(
    dpat: LittleDpat, publisher: Publisher
) -> None:
    publisher.progress(1, "computing")
    publisher.progress(2, "computing")
    publisher.done(Result("ANSWER: 42"), FRAME)
    assert texts(dpat) == ["computing, 1 %", "ANSWER: 42"]
    assert dpat.results[1]["displayResult"] == "ANSWER: 42"
    assert len(dpat.results) == 1


def test_a_failure_does_not_wait(dpat: LittleDpat, publisher: Publisher) -> None:
    publisher.progress(1, "computing")
    publisher.failed("no slide.")
    publisher.cancelled()
    assert texts(dpat) == ["computing, 1 %", "failed: no slide", "cancelled"]


def test_a_final_result_that_dpat_can_not_store_now_is_an_error(dpat: LittleDpat, publisher: Publisher) -> None:
    publisher.progress(1, "computing")
    dpat.answer("PATCH", ONE, Reply(503))
    with pytest.raises(DpatUnavailable):
        publisher.done(Result("x"), FRAME)
    with pytest.raises(DpatUnavailable):
        publisher.failed("x")


def test_progress_that_dpat_can_not_show_now_is_passed_over(
    dpat: LittleDpat, publisher: Publisher, clock: Clock
) -> None:
    dpat.answer("POST", RESULTS, Reply(503), dpat.usual)
    publisher.progress(1, "computing")
    publisher.waiting("waiting to try again")
    clock.now += 1
    publisher.progress(2, "computing")
    assert texts(dpat) == ["computing, 1 %", "waiting to try again, 1 %", "computing, 2 %"]


def test_progress_with_an_expired_token_is_an_error(dpat: LittleDpat, publisher: Publisher) -> None:
    dpat.answer("POST", RESULTS, Reply(401))
    with pytest.raises(TokenExpired):
        publisher.progress(1, "computing")


def test_a_job_that_waits_says_why_if_it_can(dpat: LittleDpat, publisher: Publisher) -> None:
    publisher.progress(30, "computing")
    publisher.waiting("waiting to try again: DPAT was away")
    dpat.answer("PATCH", ONE, Reply(401))
    publisher.waiting("unheard")
    assert dpat.results[1]["displayResult"] == "waiting to try again: DPAT was away, 30 %"


def test_a_worker_that_lost_its_claim_tells_the_slide_nothing(
    dpat: LittleDpat, publisher: Publisher, claim: Claim
) -> None:
    claim.give_back()
    with pytest.raises(ClaimLost):
        publisher.progress(1, "x")
    with pytest.raises(ClaimLost):
        publisher.waiting("x")
    with pytest.raises(ClaimLost):
        publisher.failed("x")
    with pytest.raises(ClaimLost):
        publisher.done(Result("x"), FRAME)
    assert not dpat.calls


def test_a_result_that_the_user_deleted_is_not_made_anew(
    dpat: LittleDpat, publisher: Publisher, clock: Clock
) -> None:
    publisher.progress(1, "computing")
    dpat.results.clear()
    clock.now += 1
    with pytest.raises(ResultDeletedByUser):
        publisher.progress(2, "computing")
    with pytest.raises(ResultDeletedByUser):
        publisher.done(Result("x"), FRAME)
    assert not dpat.results


def test_a_server_without_the_app_is_not_a_deletion(dpat: LittleDpat, publisher: Publisher) -> None:
    dpat.answer("POST", RESULTS, Reply(404))
    with pytest.raises(NotFound) as caught:
        publisher.progress(1, "computing")
    assert not isinstance(caught.value, ResultDeletedByUser)


def test_the_next_attempt_goes_on_with_the_same_result(
    dpat: LittleDpat, client: DpatClient, publisher: Publisher, claim: Claim, source: FileSource
) -> None:
    publisher.progress(1, "computing")
    claim.give_back()
    again = source.claim()
    assert again is not None
    dpat.calls.clear()
    Publisher(again, WholeSlideDemo(), client).done(Result("fine"), FRAME)
    assert [call.method for call in dpat.calls][-1] == "PATCH"
    assert not dpat.made("POST")
    assert dpat.results[1]["displayResult"] == "fine"


def test_an_update_of_somebody_else_in_between_does_not_stop_the_job(
    dpat: LittleDpat, publisher: Publisher, clock: Clock
) -> None:
    publisher.progress(1, "computing")
    dpat.results[1]["versionId"] = "v9"
    clock.now += 1
    publisher.progress(2, "computing")
    publisher.done(Result("fine"), FRAME)
    assert dpat.results[1]["versionId"] == "v11"


def test_a_conflict_without_end_loses_a_progress_update_but_not_the_result(
    dpat: LittleDpat, publisher: Publisher, clock: Clock
) -> None:
    publisher.progress(1, "computing")
    dpat.answer("PATCH", ONE, Reply(409))
    clock.now += 1
    publisher.progress(2, "computing")
    with pytest.raises(Conflict):
        publisher.done(Result("fine"), FRAME)


def test_a_slide_whose_size_comes_later_gets_its_frame_then(
    dpat: LittleDpat, client: DpatClient, queue: FileQueue, source: FileSource, job: Job
) -> None:
    queue.put(job.model_copy(update={"image_info": None}))
    claim = source.claim()
    assert claim is not None
    publisher = Publisher(claim, WholeSlideDemo(), client)
    publisher.progress(1, "computing")
    publisher.extent(FRAME)
    publisher.extent(Frame(1, 1))
    publisher.waiting("computing")
    first, second = (call.json["data"]["result"]["content"][0]["polygons"] for call in dpat.calls if call.body)
    assert first == []
    assert second[0]["points"][2] == {"x": 1, "y": 0.5}
