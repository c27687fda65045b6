"""A user cancels an analysis, or deletes its result."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from slidehook.jobs.files.source import FileClaim, FileSource
from slidehook.jobs.job import JobState
from tests.e2e.running import files_below
from tests.iaapi.little_dpat import Reply
from tests.webserver.site import SQUARE, Site

ONE = "/applications/tissue-area/results/1"
FRESH = "the-fresh-token"


@pytest.fixture
def source(site: Site) -> Iterator[FileSource]:
    source = FileSource(site.queue, max_attempts=3)
    yield source
    source.close()


def claimed(source: FileSource) -> FileClaim:
    claim = source.claim()
    assert claim is not None
    return claim


def stranger(site: Site) -> dict[str, str]:
    """The request of a caller who knows DPAT's URL and has made up a token."""
    return {"url": site.dpat.url, "token": "worthless"}


def cancel(site: Site) -> None:
    answer = site.post(action="cancel", input=..., callbackInfo={"url": site.dpat.url, "token": FRESH})
    assert (answer.status_code, answer.json) == (200, {})


def ended(site: Site) -> int:
    """The number of jobs that have ended as cancelled."""
    return len(files_below(site.queue.layout.root / JobState.CANCELLED))


# --- cancel


def test_cancelled_is_stored_with_the_token_of_the_cancel(site: Site) -> None:
    site.post()
    site.dpat.calls.clear()
    cancel(site)
    assert [call.method for call in site.dpat.calls] == ["GET", "GET", "PATCH"]
    assert {call.headers["Authorization"] for call in site.dpat.calls} == {f"Bearer {FRESH}"}
    assert site.dpat.results[1]["displayResult"] == "cancelled"
    assert ended(site) == 1


@pytest.mark.parametrize("reply", [Reply(503), Reply(401), Reply(409), Reply(500), Reply(422)])
def test_a_cancel_that_dpat_can_not_store_now_is_left_to_a_worker(
    site: Site, source: FileSource, reply: Reply
) -> None:
    site.post()
    for method in ("PATCH", "PUT"):
        site.dpat.answer(method, ONE, reply)
    cancel(site)
    assert ended(site) == 0
    claim = claimed(source)
    assert claim.cancel_wanted()
    assert claim.secret() == FRESH


LIST = "/applications/tissue-area/results/slide/S-1"
AREAS = {"applicationId": "areas"}


@pytest.mark.parametrize("reply", [Reply(401), Reply(403), Reply(404), Reply(503)])
def test_a_cancel_with_a_token_that_dpat_rejects_stops_nothing(site: Site, source: FileSource, reply: Reply) -> None:
    site.post()
    site.dpat.answer("GET", LIST, reply)
    assert site.post(action="cancel", input=..., callbackInfo=stranger(site)).status_code == 502
    claim = claimed(source)
    assert (claim.cancel_wanted(), claim.secret()) == (False, "the-token")
    assert site.dpat.results[1]["displayResult"] == "analysis queued, 0 %"


@pytest.mark.parametrize("changes", [{"slideId": "S-2"}, {"url": "http://127.0.0.1:9/v1"}, AREAS])
def test_a_guessed_cancellation_token_stops_no_job_of_another_slide_app_or_dpat(
    site: Site, source: FileSource, changes: dict[str, Any]
) -> None:
    site.post()
    site.dpat.calls.clear()
    callback = {"url": changes.get("url", site.dpat.url), "token": FRESH}
    body = {name: value for name, value in changes.items() if name != "url"}
    path = f"/apps/{body.get('applicationId', 'tissue-area')}"
    answer = site.post(path, action="cancel", input=..., callbackInfo=callback, **body)
    assert (answer.status_code, answer.json) == (200, {})
    claim = claimed(source)
    assert (claim.cancel_wanted(), claim.secret()) == (False, "the-token")
    assert site.dpat.calls == []


@pytest.mark.parametrize("stored_by_now", [False, True])
def test_a_cancel_creates_no_result_on_a_slide_without_one(
    site: Site, source: FileSource, monkeypatch: pytest.MonkeyPatch, stored_by_now: bool
) -> None:
    site.dpat.answer("POST", "/applications/tissue-area/results", Reply(503))
    assert site.notify().status_code == 502
    assert site.files()
    if stored_by_now:
        later = time.time() + 3600
        monkeypatch.setattr(time, "time", lambda: later)
    cancel(site)
    assert not site.dpat.results
    assert ended(site) == int(stored_by_now)
    assert stored_by_now or claimed(source).cancel_wanted(), "a worker looks again, when DPAT must have stored it"


def test_a_result_deleted_meanwhile_stays_deleted(site: Site) -> None:
    site.post()
    site.dpat.results.clear()
    cancel(site)
    assert not site.dpat.results
    assert ended(site) == 1


def test_cancelling_a_running_job_calls_dpat_only_to_check_the_token(site: Site, source: FileSource) -> None:
    site.post()
    claim = claimed(source)
    site.dpat.calls.clear()
    cancel(site)
    assert claim.cancel_wanted()
    assert [(call.method, call.path) for call in site.dpat.calls] == [("GET", LIST)]


# --- delete


def delete(site: Site, number: int, **changes: Any) -> None:
    path = f"/apps/{changes.get('applicationId', 'tissue-area')}"
    answer = site.post(path, action="delete", input=site.dpat.results[number], **changes)
    assert (answer.status_code, answer.json) == (200, {})
    del site.dpat.results[number]


def test_after_a_cancel_a_repeated_request_is_a_new_job(site: Site, source: FileSource) -> None:
    site.post()
    site.dpat.calls.clear()
    delete(site, 1)
    assert [(call.method, call.path) for call in site.dpat.calls] == [("GET", LIST)]
    assert ended(site) == 1
    assert source.claim() is None
    again = site.post()
    assert again.status_code == 200
    assert len(site.dpat.results) == 1
    assert not claimed(source).unwanted()


def test_a_repeated_request_does_not_join_a_job_being_stopped(site: Site, source: FileSource) -> None:
    site.post()
    running = claimed(source)
    delete(site, 1)
    assert running.unwanted()
    again = site.post()
    assert again.json == site.dpat.results[1]
    assert "analysis queued" in again.json["displayResult"]
    other = claimed(source)
    assert other.job.id != running.job.id
    assert not other.unwanted()


@pytest.mark.parametrize("reply", [Reply(401), Reply(403), Reply(503)])
@pytest.mark.parametrize("running", [False, True])
def test_a_forged_deletion_stops_nothing(site: Site, source: FileSource, reply: Reply, *, running: bool) -> None:
    site.post()
    claim = claimed(source) if running else None
    site.dpat.answer("GET", LIST, reply)
    answer = site.post(action="delete", input=site.dpat.results[1], callbackInfo=stranger(site))
    assert answer.status_code == 502
    claim = claim or claimed(source)
    assert not claim.unwanted()
    assert ended(site) == 0


def test_only_the_job_of_the_deleted_region_is_stopped(site: Site) -> None:
    for x in (0.05, 0.06):
        areas = {"polygons": [{"points": [*SQUARE, {"x": x, "y": 0.15}]}]}
        answer = site.post("/apps/areas", applicationId="areas", input={"type": "multiArea", "content": areas})
        assert answer.status_code == 200
    delete(site, 1, applicationId="areas")
    (left,) = site.jobs()
    assert ended(site) == 1
    assert left.input.type == "multiArea"


def test_equal_result_ids_of_different_dpats_are_different_results(
    make_site: Callable[..., Site], site: Site, source: FileSource
) -> None:
    site.post()
    answer = site.post(
        action="delete", input=site.dpat.results[1], callbackInfo={"url": "http://localhost:9/v1", "token": FRESH}
    )
    assert answer.status_code == 200
    assert not claimed(source).unwanted()


def test_a_cancel_keeps_the_result_of_an_earlier_analysis(site: Site, source: FileSource) -> None:
    site.post()
    claimed(source).finish(JobState.DONE)
    site.dpat.results[1]["displayResult"] = "12 %"
    site.dpat.answer("GET", "/applications/tissue-area/results/slide/S-1", Reply(503))
    assert site.notify().status_code == 502
    site.dpat.answer("GET", "/applications/tissue-area/results/slide/S-1", site.dpat.usual)
    cancel(site)
    assert claimed(source).cancel_wanted()
    assert site.dpat.results[1]["displayResult"] == "12 %"
