from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from slidehook.apps.wholeslide import WholeSlideDemo
from slidehook.dpat.destination import DpatDestination
from slidehook.dpat.errors import Conflict, DpatRefused, DpatTimeout, DpatUnavailable, NotFound, TokenExpired
from slidehook.dpat.iaapi.client import DpatServer
from slidehook.dpat.stored_result import STORED_WITHIN_S
from slidehook.dpat.tokens import CheckedSecrets
from slidehook.errors import ClaimLost, ResultDeleted, SlidehookError
from slidehook.geometry import Frame
from slidehook.jobs.contract import Claim
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import FileSource
from slidehook.jobs.job import Job
from slidehook.models import ImageInfo, Size
from slidehook.result import Result
from slidehook.systems import Done, OneSecret
from tests.e2e.running import wait_for
from tests.iaapi.little_dpat import Call, LittleDpat, Reply
from worker.publisher import Publisher
from worker.shutdown import Interruption, check_abandoned

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


def publishing(
    claim: Claim, server: DpatServer, *, tries: int = 1, clock: Callable[[], float] = time.monotonic
) -> Publisher:
    """A publisher whose calls prove the claim, as a worker's."""

    def prove() -> None:
        check_abandoned()
        claim.check()

    secrets = CheckedSecrets(OneSecret("the-token"), prove)
    client = server.client(secrets, tries=tries, sleep=lambda _: None)
    destination = DpatDestination(claim.job, WholeSlideDemo(), client, lambda _: client)
    return Publisher(claim, destination, leaving=Interruption(), clock=clock)


@pytest.fixture
def publisher(claim: Claim, server: DpatServer, clock: Clock) -> Publisher:
    return publishing(claim, server, clock=clock)


def texts(dpat: LittleDpat) -> list[str]:
    """What the slide was told, in order."""
    return [call.json["displayResult"] for call in dpat.calls if call.method in {"POST", "PATCH"}]


def landed(publisher: Publisher) -> None:
    """Wait for the update that is on its way, then send what waited for it, or hear what it met."""
    if publisher._flight is not None:
        publisher._flight.wait(120)
    publisher.flush()


def finish(publisher: Publisher, result: Result) -> None:
    publisher.done(Done(result, FRAME))


def tell(publisher: Publisher, percent: float) -> None:
    """Show progress, and wait until it is shown."""
    publisher.progress(percent, "computing")
    landed(publisher)


def test_progress_is_shown_at_most_once_a_second_and_the_newest_wins(
    dpat: LittleDpat, publisher: Publisher, clock: Clock
) -> None:
    for percent in range(10):
        tell(publisher, percent)
    clock.now += 0.99
    landed(publisher)
    assert texts(dpat) == ["computing, 0 %"]
    clock.now += 0.01
    publisher.flush()
    landed(publisher)
    assert texts(dpat) == ["computing, 0 %", "computing, 9 %"]


def test_ten_seconds_of_steady_progress_are_ten_updates(dpat: LittleDpat, publisher: Publisher, clock: Clock) -> None:
    for step in range(40):
        clock.now = 100 + step * 0.25
        tell(publisher, step)
    assert len(texts(dpat)) == 10


@pytest.fixture
def slow(dpat: LittleDpat) -> Iterator[threading.Event]:
    """Have DPAT keep the first new result to itself until the event is set."""
    go_on = threading.Event()

    def store(call: Call) -> Reply:
        go_on.wait(120)
        return dpat.usual(call)

    dpat.answer("POST", RESULTS, store)
    yield go_on
    go_on.set()


def test_nobody_waits_for_a_slow_dpat_and_updates_do_not_queue_up(
    dpat: LittleDpat, publisher: Publisher, clock: Clock, slow: threading.Event
) -> None:
    for percent in range(60):
        publisher.progress(percent, "computing")
        clock.now += 1
    assert len(texts(dpat)) <= 1
    slow.set()
    landed(publisher)
    landed(publisher)
    assert texts(dpat) == ["computing, 0 %", "computing, 59 %"]


def test_the_final_result_waits_for_the_update_on_its_way_so_that_none_comes_after_it(
    dpat: LittleDpat, publisher: Publisher, slow: threading.Event
) -> None:
    publisher.progress(1, "computing")
    publisher.progress(2, "computing")
    threading.Timer(0.1, slow.set).start()
    finish(publisher, Result("ANSWER: 42"))
    publisher.flush()
    assert texts(dpat) == ["computing, 1 %", "ANSWER: 42"]
    assert dpat.results[1]["displayResult"] == "ANSWER: 42"
    assert len(dpat.results) == 1


def test_a_worker_that_leaves_waits_shortly_only(publisher: Publisher, slow: threading.Event) -> None:
    publisher.progress(1, "computing")
    publisher.close(0.01)
    assert not slow.is_set()


def test_an_update_that_comes_too_late_finds_its_claim_lost(
    dpat: LittleDpat, claim: Claim, server: DpatServer, slow: threading.Event
) -> None:
    publisher = publishing(claim, server)
    dpat.answer("PATCH", ONE, Reply(409))
    tell_first = threading.Timer(0.05, slow.set)
    tell_first.start()
    publisher.waiting("computing")
    dpat.results[1]["versionId"] = "v7"
    begun, go_on = threading.Event(), threading.Event()

    def conflict(_: Call) -> Reply:
        begun.set()
        go_on.wait(120)
        return Reply(409)

    dpat.answer("PATCH", ONE, conflict)
    publisher.progress(2, "computing")
    assert begun.wait(120)
    publisher.close(0)
    claim.give_back()
    before = len(dpat.calls)
    go_on.set()
    with pytest.raises(ClaimLost):
        landed(publisher)
    assert len(dpat.calls) == before, "it would have been sent once more, over what the next worker shows"


def test_a_failure_does_not_wait_and_stands(dpat: LittleDpat, publisher: Publisher) -> None:
    publisher.progress(1, "computing")
    publisher.failed("no slide.")
    publisher.cancelled()
    assert texts(dpat) == ["computing, 1 %", "failed: no slide"]


def test_a_job_that_shows_nothing_yet_is_cancelled_without_a_word(dpat: LittleDpat, publisher: Publisher) -> None:
    publisher.cancelled()
    assert [call.method for call in dpat.calls] == ["GET"]
    assert not dpat.results


def test_a_final_result_that_dpat_can_not_store_now_is_an_error(dpat: LittleDpat, publisher: Publisher) -> None:
    tell(publisher, 1)
    for method in ("PATCH", "PUT"):
        dpat.answer(method, ONE, Reply(503))
    with pytest.raises(DpatUnavailable):
        finish(publisher, Result("x"))
    with pytest.raises(DpatUnavailable):
        publisher.failed("x")


def test_progress_that_dpat_can_not_show_now_is_passed_over(
    dpat: LittleDpat, publisher: Publisher, clock: Clock
) -> None:
    dpat.answer("POST", RESULTS, Reply(503), dpat.usual)
    tell(publisher, 1)
    publisher.waiting("waiting to try again")
    clock.now += 1
    tell(publisher, 2)
    assert texts(dpat) == ["computing, 1 %", "waiting to try again, 1 %", "computing, 2 %"]


def test_progress_with_an_expired_token_is_an_error(dpat: LittleDpat, publisher: Publisher) -> None:
    dpat.answer("POST", RESULTS, Reply(401))
    with pytest.raises(TokenExpired):
        tell(publisher, 1)


def test_a_job_that_waits_says_why_if_it_can(dpat: LittleDpat, publisher: Publisher) -> None:
    tell(publisher, 30)
    assert publisher.waiting("waiting to try again: DPAT was away")
    for method in ("PATCH", "GET"):
        dpat.answer(method, ONE, Reply(401))
    assert not publisher.waiting("unheard")
    assert dpat.results[1]["displayResult"] == "waiting to try again: DPAT was away, 30 %"


def test_a_worker_that_lost_its_claim_tells_the_slide_nothing(
    dpat: LittleDpat, publisher: Publisher, claim: Claim
) -> None:
    claim.give_back()
    with pytest.raises(ClaimLost):
        tell(publisher, 1)
    with pytest.raises(ClaimLost):
        publisher.waiting("x")
    with pytest.raises(ClaimLost):
        publisher.failed("x")
    with pytest.raises(ClaimLost):
        finish(publisher, Result("x"))
    assert not dpat.calls


def test_a_result_that_the_user_deleted_is_not_made_anew(
    dpat: LittleDpat, publisher: Publisher, clock: Clock
) -> None:
    tell(publisher, 1)
    dpat.results.clear()
    clock.now += 1
    with pytest.raises(ResultDeleted):
        tell(publisher, 2)
    with pytest.raises(ResultDeleted):
        finish(publisher, Result("x"))
    assert not dpat.results


def test_a_server_without_the_app_is_not_a_deletion(dpat: LittleDpat, publisher: Publisher) -> None:
    dpat.answer("POST", RESULTS, Reply(404))
    with pytest.raises(NotFound) as caught:
        tell(publisher, 1)
    assert not isinstance(caught.value, ResultDeleted)


def test_the_next_attempt_goes_on_with_the_same_result(
    dpat: LittleDpat, server: DpatServer, publisher: Publisher, claim: Claim, source: FileSource
) -> None:
    tell(publisher, 1)
    claim.give_back()
    again = source.claim()
    assert again is not None
    dpat.calls.clear()
    finish(publishing(again, server), Result("fine"))
    assert [call.method for call in dpat.calls][-1] == "PATCH"
    assert not dpat.made("POST")
    assert dpat.results[1]["displayResult"] == "fine"


def test_an_update_of_somebody_else_in_between_does_not_stop_the_job(
    dpat: LittleDpat, publisher: Publisher, clock: Clock
) -> None:
    tell(publisher, 1)
    dpat.results[1]["versionId"] = "v9"
    clock.now += 1
    tell(publisher, 2)
    finish(publisher, Result("fine"))
    assert dpat.results[1]["versionId"] == "v11"


def test_a_conflict_without_end_loses_a_progress_update_but_not_the_result(
    dpat: LittleDpat, publisher: Publisher, clock: Clock
) -> None:
    tell(publisher, 1)
    dpat.answer("PATCH", ONE, Reply(409))
    clock.now += 1
    tell(publisher, 2)
    with pytest.raises(Conflict):
        finish(publisher, Result("fine"))


def test_a_slide_whose_size_comes_later_gets_its_frame_then(
    dpat: LittleDpat, server: DpatServer, queue: FileQueue, source: FileSource, job: Job
) -> None:
    queue.put(job.model_copy(update={"image_info": None}))
    claim = source.claim()
    assert claim is not None
    publisher = publishing(claim, server)
    tell(publisher, 1)
    publisher.describe(ImageInfo(id="S-1", image_size=Size(width=2000, height=1000)))
    publisher.describe(ImageInfo(id="S-1", image_size=Size(width=1, height=1)))
    publisher.waiting("computing")
    first, second = (call.json["data"]["result"]["content"][0]["polygons"] for call in dpat.calls if call.body)
    assert first == []
    assert second[0]["points"][2] == {"x": 1, "y": 0.5}


LOST = {"502": Reply(502), "cut": Reply(201, {"id": 1}, sent=3), "an answer that is none": Reply(201, b"{}")}


@pytest.mark.parametrize("reply", LOST.values(), ids=LOST)
def test_a_first_update_whose_answer_was_lost_is_gone_on_with(
    dpat: LittleDpat, publisher: Publisher, clock: Clock, reply: Reply
) -> None:
    def lost(call: Call) -> Reply:
        dpat.usual(call)
        return reply

    dpat.answer("POST", RESULTS, lost)
    tell(publisher, 1)
    clock.now += 1
    tell(publisher, 2)
    finish(publisher, Result("fine"))
    assert len(dpat.made("POST")) == 1
    assert [each["displayResult"] for each in dpat.results.values()] == ["fine"]


def test_progress_is_sent_once_while_the_final_result_is_tried_again(
    dpat: LittleDpat, server: DpatServer, claim: Claim
) -> None:
    publisher = publishing(claim, server, tries=3)
    tell(publisher, 1)
    dpat.answer("PATCH", ONE, Reply(503), Reply(503), Reply(503), dpat.usual)
    dpat.answer("PUT", ONE, Reply(503))
    assert not publisher.waiting("not told")
    finish(publisher, Result("fine"))
    assert len(dpat.made("PATCH")) == 4
    assert publisher.waiting("told")


@pytest.mark.parametrize("listed", [True, False], ids=["the result is listed", "there is no list"])
def test_a_server_that_answers_404_to_everything_has_not_had_its_result_deleted(
    dpat: LittleDpat, publisher: Publisher, listed: bool
) -> None:
    tell(publisher, 1)
    for method in ("PATCH", "PUT"):
        dpat.answer(method, ONE, Reply(404))
    if not listed:
        dpat.answer("GET", "*", Reply(404))
    with pytest.raises(DpatRefused):
        finish(publisher, Result("fine"))
    for method in ("PATCH", "PUT"):
        dpat.answer(method, ONE, dpat.usual)
    finish(publisher, Result("fine"))
    assert dpat.results[1]["displayResult"] == "fine"


def test_a_cancel_waits_for_no_update_and_what_was_on_its_way_sends_nothing_further(
    dpat: LittleDpat, publisher: Publisher, clock: Clock
) -> None:
    tell(publisher, 1)
    begun, go_on = threading.Event(), threading.Event()

    def late(call: Call) -> Reply:
        begun.set()
        go_on.wait(120)
        return dpat.usual(call)

    dpat.answer("PATCH", ONE, late, dpat.usual)
    clock.now += 1
    publisher.progress(2, "computing")
    assert begun.wait(120)
    flight = publisher._flight
    assert flight is not None
    assert publisher.cancelled() is None
    before = len(dpat.calls)
    go_on.set()
    flight.wait(120)
    assert isinstance(flight.error, SlidehookError), "DPAT took an update behind the cancel"
    assert len(dpat.calls) == before, "it was sent once more, over the cancel"
    assert dpat.results[1]["displayResult"] == "cancelled"


def test_a_result_that_dpat_stored_before_it_could_be_told_of_the_cancel_stands(
    dpat: LittleDpat, publisher: Publisher
) -> None:
    tell(publisher, 1)

    def lost(call: Call) -> Reply:
        dpat.usual(call)
        return Reply(503)

    dpat.answer("PATCH", ONE, lost, dpat.usual)
    dpat.answer("PUT", ONE, Reply(503), dpat.usual)
    with pytest.raises(DpatUnavailable):
        finish(publisher, Result("ANSWER: 42"))
    assert publisher.cancelled() == "ANSWER: 42"
    assert dpat.results[1]["displayResult"] == "ANSWER: 42"


def test_a_final_result_that_is_the_first_to_be_stored_and_whose_answer_was_lost_stands(
    dpat: LittleDpat, publisher: Publisher
) -> None:
    def lost(call: Call) -> Reply:
        dpat.usual(call)
        return Reply(503)

    dpat.answer("POST", RESULTS, lost, dpat.usual)
    with pytest.raises(DpatUnavailable):
        finish(publisher, Result("ANSWER: 42"))
    assert publisher.cancelled() == "ANSWER: 42"
    assert texts(dpat) == ["ANSWER: 42"]


def test_a_final_result_that_was_stored_and_noted_stands(
    dpat: LittleDpat, publisher: Publisher, claim: Claim, source: FileSource, server: DpatServer
) -> None:
    finish(publisher, Result("ANSWER: 42"))
    assert publisher.cancelled() == "ANSWER: 42", "the drop came behind the answer"
    claim.give_back()
    again = source.claim()
    assert again is not None
    assert publishing(again, server).cancelled() == "ANSWER: 42"
    assert texts(dpat) == ["ANSWER: 42"]


def test_a_cancelled_job_of_which_nothing_is_seen_yet_is_looked_for_again_until_it_must_be_there(
    claim: Claim, source: FileSource, server: DpatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever had it before may have sent a result that DPAT stores late."""
    claim.retry("the worker broke off a POST", 0)
    again = source.claim()
    assert again is not None
    with pytest.raises(DpatTimeout):
        publishing(again, server).cancelled()
    later = time.time() + max(STORED_WITHIN_S, server.read_timeout_s)
    monkeypatch.setattr(time, "time", lambda: later)
    assert publishing(again, server).cancelled() is None


def test_a_cancel_while_dpat_may_be_storing_the_first_result_is_told_later(
    dpat: LittleDpat, publisher: Publisher, slow: threading.Event
) -> None:
    publisher.progress(1, "computing")
    assert publisher._flight is not None
    wait_for(lambda: dpat.made("POST"), "the first result is on its way")
    with pytest.raises(DpatTimeout):
        publisher.cancelled()
    slow.set()
    wait_for(lambda: dpat.results, "DPAT has stored it")
    assert publisher.cancelled() is None
    assert dpat.results[1]["displayResult"] == "cancelled"


def test_whether_there_may_be_a_second_result_is_noted_for_the_next_worker(
    dpat: LittleDpat, publisher: Publisher, claim: Claim, source: FileSource, server: DpatServer
) -> None:
    publisher.waiting("computing")
    claim.give_back()
    again = source.claim()
    assert again is not None
    assert again.record.noted is not None
    assert again.record.noted["in_doubt"], "who put the job may have sent a result, and not heard of it"
    dpat.results[2] = {**dpat.results[1], "id": 2}
    finish(publishing(again, server), Result("fine"))
    assert [each["displayResult"] for each in dpat.results.values()] == ["fine", "fine"]
