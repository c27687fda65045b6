"""How often DPAT is called, and that a slow one holds up nobody."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest

from slidehook.jobs.job import JobState
from slidehook.simulator.calls import Call
from tests.e2e.conftest import APP, Dpat, Site
from tests.e2e.running import Program, wait_for

UPDATE_EVERY_S = 1.0
PROOF = f"GET /applications/{APP}/results/slide/{{}}"


def kinds(dpat: Dpat) -> list[str]:
    return [f"{each.method} {each.path.rpartition('/v1')[2]}" for each in dpat.calls()]


def updates(dpat: Dpat) -> list[Call]:
    return [each for each in dpat.calls() if each.method in {"PATCH", "PUT"}]


def moment(worker: Program, text: str) -> float:
    """Return when the worker first logged a line that holds `text`, in seconds since 1970."""
    line = next(each for each in worker.text().splitlines() if text in each)
    match = re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", line)
    assert match is not None, line
    return datetime.fromisoformat(match[0]).timestamp()


def test_a_create_costs_three_calls_before_its_answer_and_two_when_the_work_is_there_already(
    quiet_dpat: Dpat,
) -> None:
    slide_id = quiet_dpat.add_slide()
    assert quiet_dpat.create(slide_id).ok
    assert len(kinds(quiet_dpat)) == 3, kinds(quiet_dpat)
    quiet_dpat.clear_calls()
    assert quiet_dpat.create(slide_id).ok
    assert len(kinds(quiet_dpat)) == 2, kinds(quiet_dpat)


@pytest.mark.parametrize("old", [False, True])
def test_a_notification_costs_two_calls_before_its_answer_and_one_when_the_work_is_there_already(
    quiet_dpat: Dpat, *, old: bool
) -> None:
    slide_id = quiet_dpat.add_slide()
    (answer,) = quiet_dpat.notify(slide_id, old=old)
    assert answer.ok
    assert len(kinds(quiet_dpat)) == 2, kinds(quiet_dpat)
    quiet_dpat.clear_calls()
    quiet_dpat.notify(slide_id, old=old)
    assert kinds(quiet_dpat) == [PROOF.format(slide_id)]


def test_a_deletion_costs_one_call_and_a_cancel_three(quiet_dpat: Dpat) -> None:
    first, second = quiet_dpat.add_slide(), quiet_dpat.add_slide()
    quiet_dpat.create(first)
    quiet_dpat.create(second)
    quiet_dpat.clear_calls()
    quiet_dpat.invoke(APP, first, "cancel")
    assert len(kinds(quiet_dpat)) == 3, "the proof of access, a look whether it has ended, and the update"
    quiet_dpat.clear_calls()
    quiet_dpat.invoke(APP, second, "delete")
    assert kinds(quiet_dpat) == [PROOF.format(second)]


def test_a_slow_dpat_slows_no_analysis_and_its_updates_do_not_queue_up(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site(demo_seconds="3")
    site.start_web()
    worker = site.start_worker()
    dpat = new_dpat(site)
    slide_id = dpat.add_slide()
    dpat.add_fault(r"/results/\d+$", "delay", seconds=2.5, count=100)
    dpat.create(slide_id)
    assert dpat.final(slide_id)["displayResult"] == "ANSWER: 42"
    site.job_in(JobState.DONE, slide_id)
    # Each update takes 2.5 s; the app's own three steps are 1 s apart all the same (the log counts whole seconds).
    assert moment(worker, "percent=100") - moment(worker, "percent=60") <= 2 + 2
    calls = sorted(updates(dpat), key=lambda each: each.at)
    for before, after in itertools.pairwise(calls):
        assert after.at >= before.at + before.seconds - 0.05, "two updates at once"
    assert len(calls) <= 5, kinds(dpat)


def test_progress_is_sent_at_most_once_a_second(new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]) -> None:
    site = new_site(demo_seconds="4")
    site.start_web()
    site.start_worker()
    dpat = new_dpat(site)
    slide_id = dpat.add_slide()
    dpat.create(slide_id)
    dpat.final(slide_id)
    *progress, _ = sorted(updates(dpat), key=lambda each: each.at)
    assert len(progress) >= 3
    for before, after in itertools.pairwise(progress):
        # The call reaches DPAT a moment after it was sent.
        assert after.at - before.at > UPDATE_EVERY_S * 0.8, kinds(dpat)


def test_five_equal_requests_at_once_on_five_processes_are_one_analysis(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site(web_processes="5", web_threads="1")
    web = site.start_web()
    dpat = new_dpat(site)
    slides = [dpat.add_slide() for _ in range(3)]
    wait_for(lambda: len(web.children()) == 5, "five processes serve")
    for slide_id in slides:
        dpat.add_fault("/results$", "delay", method="POST", seconds=0.5)
        with ThreadPoolExecutor(5) as users:
            answers = list(users.map(dpat.create, [slide_id] * 5))
        stored = dpat.shown(slide_id)
        assert [each.fault for each in answers] == [None] * 5
        assert {(each.answer["id"], each.answer["versionId"]) for each in answers} == {
            (stored["id"], stored["versionId"])
        }
        assert len(site.jobs(slide_id)) == 1
    assert [each.status for each in dpat.calls() if each.method == "POST"] == [201] * len(slides)
    worker = site.start_worker()
    for slide_id in slides:
        assert dpat.final(slide_id)["displayResult"] == "ANSWER: 42"
    assert worker.text().count("analysis begins") == len(slides)
