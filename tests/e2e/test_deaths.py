"""Processes that are killed or told to leave in the middle of their work: no slide is lost, none is shown twice."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest

from slidehook.dpat.stored_result import RED
from slidehook.jobs.job import JobState
from tests.e2e.conftest import Dpat, Site
from tests.e2e.promises import Promise
from tests.e2e.running import Program, is_alive, living, wait_for

LONG_S = "600"
PROMISED_TAKE_OVER_S = 3.0
TAKE_OVER_S = 60.0
"""Less than the analysis takes."""
PROMISED_LEAVE_S = 5.0
LEAVE_S = 15.0
"""Less than a call that DPAT does not answer may take."""


@pytest.fixture
def dying_site(new_site: Callable[..., Site]) -> Site:
    """A site of this test's own, with a webserver and no worker."""
    site = new_site(web_processes="2")
    site.start_web()
    return site


@pytest.fixture
def dpat(dying_site: Site, new_dpat: Callable[..., Dpat]) -> Dpat:
    """A DPAT that the dying site serves."""
    return new_dpat(dying_site)


def start_computing(site: Site, dpat: Dpat, **settings: str) -> tuple[Program, str]:
    """Start a worker that computes for long, and give it a slide; return when the app computes."""
    worker = site.start_worker(demo_seconds=LONG_S, **settings)
    slide_id = dpat.add_slide()
    dpat.create(slide_id)
    wait_until_computing(worker)
    return worker, slide_id


def leave(worker: Program) -> None:
    """Tell a worker to leave: it does, and in time."""
    promise = Promise(PROMISED_LEAVE_S, busy_s=LEAVE_S)
    worker.kill(signal.SIGTERM)
    assert worker.ended(LEAVE_S) == 0
    promise.assert_kept()


def wait_until_computing(worker: Program) -> None:
    wait_for(lambda: "percent=60" in worker.text(), "the app computes")


def test_a_killed_workers_child_dies_with_it_and_the_next_worker_takes_the_job_over(
    dying_site: Site, dpat: Dpat
) -> None:
    worker, slide_id = start_computing(dying_site, dpat)
    first = dpat.shown(slide_id)["id"]
    children = worker.children()
    second = dying_site.start_worker()
    assert children
    assert all(is_alive(each) for each in children)

    # Nobody asks for its exit status yet: to be dead is enough.
    worker.kill()
    promise = Promise(PROMISED_TAKE_OVER_S, busy_s=TAKE_OVER_S)
    wait_for(lambda: "claimed" in second.text(), "the job is taken over", within_s=TAKE_OVER_S)
    wait_for(lambda: not any(map(is_alive, children)), "the killed worker's children are dead", within_s=TAKE_OVER_S)
    promise.assert_kept()
    final = dpat.final(slide_id)
    assert (final["displayResult"], final["id"]) == ("ANSWER: 42", first)
    assert dying_site.job_in(JobState.DONE, slide_id).attempt == 2
    assert dying_site.keeps_no_slide()


def test_a_job_that_kills_its_worker_at_every_attempt_fails_visibly(dying_site: Site, dpat: Dpat) -> None:
    worker, slide_id = start_computing(dying_site, dpat, max_attempts="1")
    worker.kill()
    worker.ended()
    last = dying_site.start_worker(max_attempts="1")
    final = dpat.final(slide_id)
    assert final["displayResult"].startswith("failed: ")
    assert final["data"]["result"]["content"][0]["style"]["strokeStyle"] == RED
    dying_site.job_in(JobState.FAILED, slide_id)
    assert "analysis begins" not in last.text()


def test_a_killed_app_fails_visibly_and_its_worker_lives_on(dying_site: Site, dpat: Dpat) -> None:
    worker, slide_id = start_computing(dying_site, dpat, max_attempts="1")
    commands = living(dying_site.mark)
    (app,) = [each for each in worker.children() if "--multiprocessing-fork" in commands[each]]
    kill(app)
    assert dpat.final(slide_id)["displayResult"] == "failed: the analysis process died (killed by SIGKILL)"
    dying_site.job_in(JobState.FAILED, slide_id)
    assert worker.process.poll() is None


def test_a_queued_job_outlives_the_death_of_the_whole_webserver(dying_site: Site, dpat: Dpat) -> None:
    slide_id = dpat.add_slide()
    answer = dpat.create(slide_id)
    kill_all(dying_site.programs[0])
    dying_site.start_worker()
    final = dpat.final(slide_id)
    assert (final["displayResult"], final["id"]) == ("ANSWER: 42", answer.answer["id"])
    assert dying_site.job_in(JobState.DONE, slide_id).attempt == 1


def test_a_webserver_that_dies_while_dpat_stores_the_result_loses_nothing(dying_site: Site, dpat: Dpat) -> None:
    slide_id = dpat.add_slide()
    dpat.add_fault("/results$", "stall", method="POST", seconds=60)
    user = threading.Thread(target=dpat.create, args=[slide_id])
    user.start()
    wait_for(lambda: dpat.results(slide_id=slide_id), "DPAT has stored the result")
    kill_all(dying_site.programs[0])
    user.join()
    dying_site.start_worker()
    assert dpat.final(slide_id)["displayResult"] == "ANSWER: 42"
    assert dying_site.job_in(JobState.DONE, slide_id).attempt == 1


def test_a_worker_that_is_told_to_leave_hands_its_job_to_the_next(dying_site: Site, dpat: Dpat) -> None:
    worker, slide_id = start_computing(dying_site, dpat)
    first = dpat.shown(slide_id)["id"]
    leave(worker)
    assert [each.state for each in dying_site.jobs(slide_id)] == [JobState.WAITING]
    assert dying_site.keeps_no_slide()
    dying_site.start_worker()
    final = dpat.final(slide_id)
    assert (final["displayResult"], final["id"]) == ("ANSWER: 42", first)
    assert dying_site.job_in(JobState.DONE, slide_id).attempt == 1


@pytest.mark.parametrize("path", ["/files$", "_files/"], ids=["the slide's files", "a tile"])
def test_a_worker_leaves_in_time_also_while_dpat_sends_nothing(dying_site: Site, dpat: Dpat, path: str) -> None:
    slide_id = dpat.add_slide()
    dpat.add_fault(path, "stall", seconds=60, after_bytes=10)
    worker = dying_site.start_worker()
    dpat.create(slide_id)
    wait_for(lambda: not dpat.faults(), "DPAT sends nothing more")
    leave(worker)
    assert [each.state for each in dying_site.jobs(slide_id)] == [JobState.WAITING]


def kill_all(web: Program) -> None:
    """Kill gunicorn's master and all its workers."""
    pids = [web.pid, *web.children()]
    assert len(pids) > 1
    for pid in pids:
        kill(pid)
    wait_for(lambda: not any(map(is_alive, pids)), "the webserver is dead")


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
