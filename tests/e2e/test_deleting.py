"""A user deletes a result: it stays deleted, and what still works on it stops."""

from __future__ import annotations

from slidehook.jobs.job import JobState
from tests.e2e.conftest import APP, Dpat, Site, compute
from tests.e2e.running import wait_for

STOPS_S = 15.0
"""Less than a call that DPAT does not answer may take; the analysis itself takes minutes."""


def delete(dpat: Dpat, slide_id: str) -> None:
    """Do as a user who deletes the result."""
    answer = dpat.invoke(APP, slide_id, "delete")
    assert (answer.status, answer.answer) == (200, {})
    assert dpat.results(APP, slide_id) == []


def stops(site: Site, slide_id: str) -> None:
    """Wait until the slide's one job has ended without a result."""
    wait_for(lambda: site.jobs(slide_id)[0].state is JobState.CANCELLED, "the job has stopped", within_s=STOPS_S)


def nothing_came_back(site: Site, dpat: Dpat) -> None:
    """Have a further slide analysed, by which time whatever was to come has come, and look for results on others."""
    other = dpat.add_slide()
    dpat.create(other)
    site.start_worker("--drain", demo_seconds="0").ended()
    assert dpat.final(other)["displayResult"] == "ANSWER: 42"
    assert [each["slideId"] for each in dpat.results()] == [other]
    stored = [each for each in dpat.calls() if each.method == "POST" and each.status == 201]
    assert len(stored) == 2, "a deleted result was made anew"


def test_a_queued_job_on_a_deleted_result_ends(busy_site: Site, busy_dpat: Dpat) -> None:
    slide_id = busy_dpat.add_slide()
    busy_dpat.create(slide_id)
    delete(busy_dpat, slide_id)
    stops(busy_site, slide_id)
    nothing_came_back(busy_site, busy_dpat)


def test_a_running_job_on_a_deleted_result_stops(busy_site: Site, busy_dpat: Dpat) -> None:
    slide_id = busy_dpat.add_slide()
    worker = compute(busy_site, busy_dpat, slide_id)
    delete(busy_dpat, slide_id)
    stops(busy_site, slide_id)
    assert "the user deleted the result" in worker.text()
    worker.kill()
    worker.ended()
    nothing_came_back(busy_site, busy_dpat)


def test_a_job_that_waits_for_a_server_stops_too(busy_site: Site, busy_dpat: Dpat) -> None:
    slide_id = busy_dpat.add_slide()
    busy_dpat.add_fault("/files$", "stall", seconds=60, after_bytes=10)
    worker = busy_site.start_worker()
    busy_dpat.create(slide_id)
    wait_for(lambda: not busy_dpat.faults(), "DPAT sends nothing more")
    delete(busy_dpat, slide_id)
    stops(busy_site, slide_id)
    worker.kill()
    worker.ended()
    nothing_came_back(busy_site, busy_dpat)


def test_a_job_that_its_worker_left_behind_does_not_begin_again(busy_site: Site, busy_dpat: Dpat) -> None:
    slide_id = busy_dpat.add_slide()
    compute(busy_site, busy_dpat, slide_id).kill()
    delete(busy_dpat, slide_id)
    nothing_came_back(busy_site, busy_dpat)
    stops(busy_site, slide_id)


def test_a_deletion_that_nobody_told_of_is_found_at_the_next_update(busy_site: Site, busy_dpat: Dpat) -> None:
    slide_id = busy_dpat.add_slide()
    worker = compute(busy_site, busy_dpat, slide_id)
    worker.kill()
    worker.ended()
    busy_dpat.result_store.delete(busy_dpat.shown(slide_id)["id"])
    nothing_came_back(busy_site, busy_dpat)
    stops(busy_site, slide_id)


def test_a_finished_result_may_be_deleted_and_asked_for_anew(busy_dpat: Dpat, busy_site: Site) -> None:
    slide_id = busy_dpat.add_slide()
    busy_site.start_worker(demo_seconds="0")
    first = busy_dpat.create(slide_id).answer["id"]
    busy_dpat.final(slide_id)
    busy_site.job_in(JobState.DONE, slide_id)
    delete(busy_dpat, slide_id)
    second = busy_dpat.create(slide_id).answer["id"]
    assert busy_dpat.final(slide_id)["id"] == second != first


def test_who_asks_anew_at_once_gets_a_result_of_his_own(busy_site: Site, busy_dpat: Dpat) -> None:
    slide_id = busy_dpat.add_slide()
    compute(busy_site, busy_dpat, slide_id)
    first = busy_dpat.shown(slide_id)["id"]
    second_worker = busy_site.start_worker(demo_seconds="0")
    delete(busy_dpat, slide_id)
    answer = busy_dpat.create(slide_id)
    assert answer.ok, answer
    assert answer.answer["id"] != first
    final = busy_dpat.final(slide_id)
    assert (final["id"], final["displayResult"]) == (answer.answer["id"], "ANSWER: 42")
    wait_for(
        lambda: {each.state for each in busy_site.jobs(slide_id)} == {JobState.DONE, JobState.CANCELLED},
        "both jobs have ended",
    )
    assert second_worker.process.poll() is None
