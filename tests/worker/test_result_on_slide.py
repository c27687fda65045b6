"""A job's one result on its slide is found again, whoever made it, and whatever became of DPAT's answer."""

from __future__ import annotations

from typing import Any

import pytest

from slidehook import App, MultiArea, Progress, Result, Slide
from slidehook.dpat import stored_result as onslide
from slidehook.dpat.errors import DpatTimeout, DpatUnavailable
from slidehook.dpat.iaapi.client import DpatClient, DpatServer
from slidehook.dpat.marks import JOB_MARK
from slidehook.dpat.stored_result import RecordMaker, ResultOnSlide
from slidehook.jobs.job import Job, new_job_id
from tests.iaapi.little_dpat import Call, LittleDpat, Reply


class Areas(App):
    id = "areas"
    name = "Areas"
    input = MultiArea()

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        return Result("fine")


APP = Areas()
RESULTS = "/applications/areas/results"


@pytest.fixture
def other(job: Job) -> Job:
    """Another job on the same slide, with other regions."""
    return job.model_copy(update={"id": new_job_id(2)})


def show(client: DpatClient, job: Job, text: str, *, fresh: bool = False) -> Any:
    """Show a text on the job's slide, as a process without knowledge of the result does; returns its number."""
    return ResultOnSlide(client, APP, job, fresh=fresh).show(RecordMaker(APP, job, None).failed(text)).id


def test_a_fresh_job_with_regions_is_shown_by_one_call(dpat: LittleDpat, client: DpatClient, job: Job) -> None:
    show(client, job, "x", fresh=True)
    assert [call.method for call in dpat.calls] == ["POST"]


def test_each_job_with_regions_has_a_result_of_its_own_and_finds_it_again(
    dpat: LittleDpat, client: DpatClient, job: Job, other: Job
) -> None:
    first, second = show(client, job, "queued"), show(client, other, "queued")
    assert first != second
    assert (show(client, job, "a"), show(client, other, "b")) == (first, second)
    assert [each["displayResult"] for each in dpat.results.values()] == ["failed: a", "failed: b"]


def test_a_result_whose_answer_was_lost_is_told_from_another_jobs(
    dpat: LittleDpat, server: DpatServer, job: Job, other: Job
) -> None:
    client = server.client("t", tries=3, sleep=lambda _: None)
    show(client, other, "another's", fresh=True)

    def lost(call: Call) -> Reply:
        dpat.usual(call)
        return Reply(502)

    dpat.answer("POST", RESULTS, lost)
    assert show(client, job, "mine", fresh=True) == 2
    assert len(dpat.results) == 2


def test_the_mark_stands_beside_the_users_context(dpat: LittleDpat, client: DpatClient, job: Job) -> None:
    show(client, job.model_copy(update={"context": {"mode": "fast"}}), "x")
    assert dpat.results[1]["data"]["context"] == {"mode": "fast", JOB_MARK: job.id}


@pytest.mark.parametrize("data", [None, {}, {"context": None}, {"context": ["x"]}, {"context": {JOB_MARK: 5}}, "x"])
def test_results_that_bear_no_mark_are_anothers(dpat: LittleDpat, client: DpatClient, job: Job, data: object) -> None:
    dpat.results[7] = {"id": 7, "versionId": "v1", "slideId": "S-1", "data": data}
    assert show(client, job, "x") != 7


def test_a_new_result_is_not_cut_short_since_the_next_look_may_come_too_early_to_find_it(
    dpat: LittleDpat, client: DpatClient, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onslide, "PROGRESS_WITHIN_S", 0.0)
    record = RecordMaker(APP, job, None).in_progress(1, "x")
    with pytest.raises(DpatTimeout):  # to look for one is nothing to wait for
        ResultOnSlide(client, APP, job).show(record, once=True)
    assert ResultOnSlide(client, APP, job, fresh=True).show(record, once=True).id == 1
    assert [call.method for call in dpat.calls] == ["POST"]


def two_in_progress(client: DpatClient, job: Job) -> list[int | str]:
    """Store two results of a job, as a DPAT does that carries out late what it has not answered."""
    progress = RecordMaker(APP, job, None).in_progress(1, "queued")
    return [ResultOnSlide(client, APP, job, fresh=True).show(progress).id for _ in range(2)]


def test_a_second_result_that_dpat_stored_late_comes_to_the_same_end(
    dpat: LittleDpat, client: DpatClient, job: Job, other: Job
) -> None:
    two_in_progress(client, job)
    two_in_progress(client, other)
    result = ResultOnSlide(client, APP, job, in_doubt=True)
    result.know(1, "v1")
    result.end(RecordMaker(APP, job, None).failed("no slide"))
    texts = [dpat.results[number]["displayResult"] for number in (1, 2, 3, 4)]
    assert texts == ["failed: no slide", "failed: no slide", "queued, 1 %", "queued, 1 %"]


def test_a_second_result_that_the_user_deletes_meanwhile_stays_so(
    dpat: LittleDpat, client: DpatClient, job: Job
) -> None:
    two_in_progress(client, job)
    for method in ("PATCH", "PUT"):
        dpat.answer(method, f"{RESULTS}/2", Reply(404))
    result = ResultOnSlide(client, APP, job, in_doubt=True)
    result.know(1, "v1")
    result.end(RecordMaker(APP, job, None).failed("x"))
    assert dpat.results[1]["displayResult"] == "failed: x"


def test_while_it_is_not_known_whether_there_is_a_second_result_the_job_does_not_end(
    dpat: LittleDpat, client: DpatClient, job: Job
) -> None:
    two_in_progress(client, job)
    dpat.answer("GET", f"{RESULTS}/slide/S-1", Reply(503))
    result = ResultOnSlide(client, APP, job, in_doubt=True)
    result.know(1, "v1")
    with pytest.raises(DpatUnavailable):
        result.end(RecordMaker(APP, job, None).failed("x"))
    assert dpat.results[1]["displayResult"] == "queued, 1 %"


def test_a_job_whose_first_result_was_answered_costs_no_look(dpat: LittleDpat, client: DpatClient, job: Job) -> None:
    result = ResultOnSlide(client, APP, job, fresh=True)
    result.show(RecordMaker(APP, job, None).in_progress(1, "x"))
    result.end(RecordMaker(APP, job, None).failed("x"))
    assert not result.in_doubt
    assert [call.method for call in dpat.calls] == ["POST", "PATCH"]


@pytest.mark.parametrize("status", [502, 503])
def test_a_result_that_was_sent_twice_leaves_a_doubt(
    dpat: LittleDpat, server: DpatServer, job: Job, status: int
) -> None:
    dpat.answer("POST", RESULTS, Reply(status), dpat.usual)
    result = ResultOnSlide(server.client("t", tries=2, sleep=lambda _: None), APP, job, fresh=True)
    result.show(RecordMaker(APP, job, None).in_progress(1, "x"))
    assert result.in_doubt


ENDED = {
    "done": {"Answer": 42},
    "failed": {"Status": "failed: x"},
    "a word of the app's own": {"Progress (%)": 3, "x": 1},
}


@pytest.mark.parametrize("properties", ENDED.values(), ids=ENDED)
def test_a_cancel_lets_stand_what_has_ended_meanwhile(
    dpat: LittleDpat, client: DpatClient, job: Job, properties: dict[str, Any]
) -> None:
    two_in_progress(client, job)
    dpat.results[1] |= {"displayProperties": properties, "versionId": "v2"}
    result = ResultOnSlide(client, APP, job)
    result.know(1, "v1")
    before = dpat.results[1].copy()
    stored = result.cancel(RecordMaker(APP, job, None).cancelled())
    assert (stored and stored.answer) == dpat.results[1] == before


def test_a_cancel_is_put_on_progress_that_came_meanwhile(dpat: LittleDpat, client: DpatClient, job: Job) -> None:
    two_in_progress(client, job)
    dpat.results[1]["versionId"] = "v2"
    result = ResultOnSlide(client, APP, job)
    result.know(1, "v1")
    assert result.cancel(RecordMaker(APP, job, None).cancelled())
    assert dpat.results[1]["displayResult"] == "cancelled"
