"""A user asks for an analysis: what the slide shows from the first moment to the last."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from slidehook.dpat.stored_result import ORANGE
from slidehook.jobs.job import JobState
from tests.e2e.conftest import APP, Dpat, Site

RATIO = 4608 / 6144
"""The sample slide's height by its width."""


def items(result: dict[str, Any]) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = result["data"]["result"]["content"]
    return content


def corners(item: dict[str, Any]) -> set[tuple[float, float]]:
    (polygon,) = item["polygons"]
    return {(round(point["x"], 4), round(point["y"], 4)) for point in polygon["points"]}


def box(left: float, top: float, right: float, bottom: float) -> set[tuple[float, float]]:
    return {(round(x, 4), round(y, 4)) for x in (left, right) for y in (top, bottom)}


def percentages(result: dict[str, Any]) -> list[int]:
    found = [version["displayProperties"].get("Progress (%)") for version in result["history"]]
    return [each for each in found if each is not None]


def test_the_slide_shows_an_orange_frame_before_the_user_is_answered(quiet_dpat: Dpat, quiet_site: Site) -> None:
    slide_id = quiet_dpat.add_slide()
    answer = quiet_dpat.create(slide_id)
    stored = quiet_dpat.shown(slide_id)
    assert answer.ok, answer
    assert (answer.answer["id"], answer.answer["versionId"]) == (stored["id"], stored["versionId"])
    assert [each.method for each in quiet_dpat.calls()] == ["GET", "GET", "POST"]
    (frame,) = items(stored)
    assert frame["style"]["strokeStyle"] == ORANGE
    assert corners(frame) == box(0, 0, 1, RATIO)
    (label,) = frame["labels"]
    assert label == {"location": {"x": 0, "y": 0}, "label": "analysis queued, 0 %"}
    assert stored["displayProperties"] == {"Status": "analysis queued", "Progress (%)": 0}
    (job,) = quiet_site.jobs(slide_id)
    assert job.state is JobState.WAITING
    assert job.record.noted is not None
    assert job.record.noted["id"] == stored["id"]


def test_the_final_result_is_a_square_in_the_middle_with_the_answer(dpat: Dpat) -> None:
    slide_id = dpat.add_slide()
    answer = dpat.create(slide_id)
    final = dpat.final(slide_id)
    assert final["id"] == answer.answer["id"]
    assert final["displayResult"] == "ANSWER: 42"
    (square,) = items(final)
    assert corners(square) == box(1 / 3, RATIO / 3, 2 / 3, RATIO * 2 / 3)
    assert [each["label"] for each in square["labels"]] == ["ANSWER: 42"]


def test_asking_again_after_the_end_updates_the_same_result(dpat: Dpat, site: Site) -> None:
    slide_id = dpat.add_slide()
    dpat.create(slide_id)
    first = dpat.final(slide_id)
    site.job_in(JobState.DONE, slide_id)
    again = dpat.create(slide_id)
    second = dpat.final(slide_id)
    assert again.ok, again
    assert again.answer["displayResult"] == "analysis queued, 0 %"
    assert again.answer["id"] == second["id"] == first["id"]
    texts = [version["displayResult"] for version in second["history"]]
    assert texts.count("ANSWER: 42") == 2


def test_many_users_asking_at_once_start_one_analysis_and_see_its_result(quiet_dpat: Dpat, quiet_site: Site) -> None:
    slide_id = quiet_dpat.add_slide()
    with ThreadPoolExecutor(12) as users:
        answers = list(users.map(quiet_dpat.create, [slide_id] * 12))
    stored = quiet_dpat.shown(slide_id)
    assert [each.fault for each in answers] == [None] * 12
    assert {each.answer.get("id") for each in answers} == {stored["id"]}
    assert len(quiet_site.jobs(slide_id)) == 1


def test_a_slow_analysis_needs_at_most_thirteen_calls_the_last_of_them_for_its_result(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site(demo_seconds="3")
    site.start_web()
    worker = site.start_worker()
    dpat = new_dpat(site)
    slide_id = dpat.add_slide()
    dpat.create(slide_id)
    final = dpat.final(slide_id)
    site.job_in(JobState.DONE, slide_id)
    worker.kill(signal.SIGTERM)
    worker.ended()
    calls = dpat.calls()
    assert final["displayResult"] == "ANSWER: 42"
    assert len(calls) <= 13, [f"{each.method} {each.path}" for each in calls]
    assert [each.status for each in calls if each.status not in (200, 201)] == []
    of_result = [each for each in calls if each.path.endswith(f"/applications/{APP}/results/{final['id']}")]
    updates = [each for each in of_result if each.method != "GET"]
    assert calls[-1] is updates[-1]
    assert len(final["history"]) == 1 + len(updates)
    shown = percentages(final)
    assert shown == sorted(shown)
    assert shown[0] == 0
    assert len(set(shown)) >= 4, shown
