"""A user, or an operator, stops an analysis: within 2 s wherever it runs, and the slide says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from slidehook.dpat.stored_result import ORANGE
from slidehook.jobs.job import JobState
from tests.e2e.conftest import APP, Dpat, Site, compute
from tests.e2e.promises import Promise
from tests.e2e.running import Program, wait_for

PROMISED_S = 2.0
WITHIN_S = 15.0
"""Less than a call may take that DPAT does not answer: for a busy machine, which may need longer than promised."""
SILENT_S = 90.0
RESULT = r"/results/\d+$"


def cancel(dpat: Dpat, slide_id: str) -> None:
    """Do as a user who stops the analysis: the slide says so in time."""
    promise = Promise(PROMISED_S, busy_s=WITHIN_S)
    answer = dpat.invoke(APP, slide_id, "cancel")
    assert (answer.status, answer.answer) == (200, {})
    assert dpat.wait_until(lambda: dpat.shown(slide_id)["displayResult"] == "cancelled", 90), dpat.shown(slide_id)
    promise.assert_kept()


def test_a_queued_job_is_cancelled_within_2_s(quiet_dpat: Dpat, quiet_site: Site) -> None:
    slide_id = quiet_dpat.add_slide()
    first = quiet_dpat.create(slide_id)
    cancel(quiet_dpat, slide_id)
    shown = quiet_dpat.shown(slide_id)
    assert shown["id"] == first.answer["id"]
    assert shown["data"]["result"]["content"][0]["style"]["strokeStyle"] == ORANGE
    quiet_site.job_in(JobState.CANCELLED, slide_id)


def test_a_running_job_is_cancelled_within_2_s_and_its_worker_goes_on(busy_site: Site, busy_dpat: Dpat) -> None:
    slide_id, next_id = busy_dpat.add_slide(), busy_dpat.add_slide()
    worker = compute(busy_site, busy_dpat, slide_id)
    busy_dpat.create(next_id)
    cancel(busy_dpat, slide_id)
    busy_site.job_in(JobState.CANCELLED, slide_id)
    wait_for(lambda: worker.text().count("percent=60") == 2, "the worker computes for the next slide")
    assert busy_site.jobs(next_id)[0].state is JobState.ACTIVE


@pytest.mark.parametrize("path", ["/files$", "_files/"], ids=["the slide's files", "a tile"])
def test_a_job_whose_server_sends_nothing_is_cancelled_within_2_s(
    busy_site: Site, busy_dpat: Dpat, path: str
) -> None:
    slide_id = busy_dpat.add_slide()
    busy_dpat.add_fault(path, "stall", seconds=SILENT_S, after_bytes=10)
    busy_site.start_worker()
    busy_dpat.create(slide_id)
    wait_for(lambda: not busy_dpat.faults(), "DPAT sends nothing more")
    cancel(busy_dpat, slide_id)
    busy_site.job_in(JobState.CANCELLED, slide_id)
    assert busy_site.keeps_no_slide()


def test_a_job_that_waits_to_be_tried_again_is_cancelled_within_2_s(busy_site: Site, busy_dpat: Dpat) -> None:
    slide_id = busy_dpat.add_slide()
    busy_dpat.add_fault("/files$", "close", count=1000)
    busy_site.start_worker()
    busy_dpat.create(slide_id)
    busy_site.job_in(JobState.PARKED, slide_id)
    cancel(busy_dpat, slide_id)
    busy_site.job_in(JobState.CANCELLED, slide_id)


def test_a_job_that_waits_for_access_is_cancelled_with_the_token_that_comes_with_the_cancel(
    busy_site: Site, busy_dpat: Dpat
) -> None:
    slide_id = busy_dpat.add_slide()
    busy_dpat.create(slide_id)
    busy_dpat.expire_tokens()
    busy_site.start_worker()
    busy_site.job_in(JobState.PARKED, slide_id)
    cancel(busy_dpat, slide_id)
    busy_site.job_in(JobState.CANCELLED, slide_id)


def test_a_cancel_that_dpat_can_not_be_told_of_is_told_by_a_worker_later(busy_site: Site, busy_dpat: Dpat) -> None:
    slide_id = busy_dpat.add_slide()
    busy_dpat.create(slide_id)
    busy_dpat.expire_tokens()  # the cancel's own token is what the worker tells it with
    busy_dpat.add_fault(r"/results/\d+$", "status", status=503, count=1000)
    answer = busy_dpat.invoke(APP, slide_id, "cancel")
    assert (answer.status, answer.answer) == (200, {})
    assert [each.state for each in busy_site.jobs(slide_id)] == [JobState.WAITING]
    assert busy_dpat.shown(slide_id)["displayResult"] == "analysis queued, 0 %"

    busy_dpat.clear_faults()
    worker = busy_site.start_worker()
    assert busy_dpat.final(slide_id)["displayResult"] == "cancelled"
    busy_site.job_in(JobState.CANCELLED, slide_id)
    assert "analysis begins" not in worker.text()


def test_a_running_jobs_worker_tries_on_until_dpat_can_be_told(busy_site: Site, busy_dpat: Dpat) -> None:
    slide_id = busy_dpat.add_slide()
    worker = compute(busy_site, busy_dpat, slide_id)
    busy_dpat.add_fault(r"/results/\d+$", "status", status=503, count=1000)
    busy_dpat.invoke(APP, slide_id, "cancel")
    wait_for(lambda: "the end of the job is shown later" in worker.text(), "the worker has tried it")
    busy_site.job_in(JobState.PARKED, slide_id)
    busy_dpat.clear_faults()
    assert busy_dpat.final(slide_id)["displayResult"] == "cancelled"
    busy_site.job_in(JobState.CANCELLED, slide_id)
    assert worker.text().count("analysis begins") == 1


def test_who_asks_again_after_a_cancel_gets_the_analysis(busy_dpat: Dpat, busy_site: Site) -> None:
    slide_id = busy_dpat.add_slide()
    busy_dpat.create(slide_id)
    cancel(busy_dpat, slide_id)
    assert busy_dpat.create(slide_id).answer["displayResult"] == "analysis queued, 0 %"
    busy_site.start_worker(demo_seconds="0")
    assert busy_dpat.final(slide_id)["displayResult"] == "ANSWER: 42"


def test_an_operators_cancel_stops_a_running_job_within_2_s(busy_site: Site, busy_dpat: Dpat) -> None:
    slide_id = busy_dpat.add_slide()
    compute(busy_site, busy_dpat, slide_id)
    (job,) = busy_site.jobs(slide_id)
    said = busy_site.types("jobs", "cancel", job.record.job.id)
    promise = Promise(PROMISED_S, busy_s=WITHIN_S)
    assert said == f"job {job.record.job.id}: its worker is told to stop\n"
    assert busy_dpat.wait_until(lambda: busy_dpat.shown(slide_id)["displayResult"] == "cancelled", 90)
    promise.assert_kept()


def stop(site: Site, dpat: Dpat, slide_id: str) -> None:
    """Do as a user who stops the analysis, while DPAT answers nothing; the job must no longer be at work in time."""
    promise = Promise(PROMISED_S, busy_s=WITHIN_S)
    assert dpat.invoke(APP, slide_id, "cancel").ok
    wait_for(lambda: site.jobs(slide_id)[0].state is not JobState.ACTIVE, "the job has stopped", within_s=WITHIN_S)
    promise.assert_kept()


def texts(dpat: Dpat, slide_id: str) -> list[str]:
    """Return all that the slide ever showed."""
    return [each["displayResult"] for each in dpat.shown(slide_id)["history"]]


def about_to_end(site: Site, dpat: Dpat, slide_id: str) -> Program:
    """Start a worker, and wait until the last progress update is shown and only the final result is to come."""
    worker = site.start_worker(demo_seconds="6")
    dpat.create(slide_id)
    wait_for(
        lambda: dpat.shown(slide_id)["displayResult"] == "pretending to compute, 100 %", "the app has almost done"
    )
    return worker


def test_a_job_whose_final_result_dpat_does_not_take_is_cancelled(busy_site: Site, busy_dpat: Dpat) -> None:
    slide_id, next_id = busy_dpat.add_slide(), busy_dpat.add_slide()
    worker = about_to_end(busy_site, busy_dpat, slide_id)
    busy_dpat.add_fault(RESULT, "delay", method="PATCH", seconds=SILENT_S, count=1000)
    wait_for(lambda: busy_dpat.faults()[0].count < 1000, "the final result is on its way")
    stop(busy_site, busy_dpat, slide_id)
    busy_dpat.clear_faults()
    busy_dpat.create(next_id)
    wait_for(lambda: worker.text().count("claimed") >= 2, "the worker is free", within_s=WITHIN_S)
    assert busy_dpat.final(slide_id)["displayResult"] == "cancelled"
    busy_site.job_in(JobState.CANCELLED, slide_id)


def test_a_final_result_that_dpat_has_stored_stands_though_its_answer_did_not_come(
    busy_site: Site, busy_dpat: Dpat
) -> None:
    slide_id = busy_dpat.add_slide()
    about_to_end(busy_site, busy_dpat, slide_id)
    busy_dpat.add_fault(RESULT, "stall", method="PATCH", seconds=SILENT_S)
    wait_for(lambda: busy_dpat.shown(slide_id)["displayResult"] == "ANSWER: 42", "the final result is stored")
    stop(busy_site, busy_dpat, slide_id)
    busy_site.job_in(JobState.DONE, slide_id)
    assert "cancelled" not in texts(busy_dpat, slide_id)


def test_a_cancel_waits_for_no_progress_update_and_none_comes_after_it(busy_site: Site, busy_dpat: Dpat) -> None:
    slide_id = busy_dpat.add_slide()
    busy_site.start_worker()
    busy_dpat.add_fault(RESULT, "delay", method="PATCH", seconds=4)
    busy_dpat.create(slide_id)
    wait_for(lambda: not busy_dpat.faults(), "a progress update is on its way")
    cancel(busy_dpat, slide_id)
    busy_site.job_in(JobState.CANCELLED, slide_id)
    assert busy_dpat.wait_until(lambda: 409 in {each.status for each in busy_dpat.calls()}, 90)
    assert texts(busy_dpat, slide_id)[-1] == "cancelled"
    assert busy_dpat.calls()[-1].status == 409, "the late update was sent again"


@pytest.mark.parametrize("path", ["/files$", RESULT], ids=["the slide's files", "a progress update"])
def test_a_job_that_waits_for_a_token_is_cancelled_within_2_s(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat], path: str
) -> None:
    site = new_site(demo_seconds="6", dpat_user="image-analysis", dpat_password="secret")
    site.start_web()
    site.start_worker()
    dpat = new_dpat(site)
    slide_id = dpat.add_slide()
    dpat.add_fault(path, "status", status=401)
    dpat.add_fault("/token$", "delay", seconds=SILENT_S)
    dpat.create(slide_id)
    wait_for(lambda: not dpat.faults(), "the worker asks for a token")
    cancel(dpat, slide_id)
    site.job_in(JobState.CANCELLED, slide_id)


def test_a_job_whose_first_result_dpat_stores_late_is_cancelled_all_the_same(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site(read_timeout="1s", demo_seconds="60")
    site.start_web()
    dpat = new_dpat(site)
    slide_id = dpat.add_slide()
    dpat.add_fault("/results$", "status", count=3)
    assert not dpat.create(slide_id).ok
    assert dpat.results(APP, slide_id) == []
    dpat.add_fault("/results$", "delay", seconds=4, method="POST")
    worker = site.start_worker()
    wait_for(lambda: "analysis begins" in worker.text(), "the app computes")
    wait_for(lambda: not dpat.faults(), "the first result is on its way")
    stop(site, dpat, slide_id)
    assert dpat.final(slide_id)["displayResult"] == "cancelled"
    site.job_in(JobState.CANCELLED, slide_id)
