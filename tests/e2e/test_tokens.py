"""DPAT's tokens expire during jobs: a newer request's token goes on, or the service account's, or the job waits."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from slidehook.jobs.job import JobState
from slidehook.simulator.options import Options
from tests.e2e.conftest import ROUTE, Dpat, Site
from tests.e2e.running import Program, traces, wait_for

USER, PASSWORD = "image-analysis", "geheim-7f3a-pässwort"
ACCOUNT = {"dpat_user": USER, "dpat_password": PASSWORD}
COMPUTE_S = "2"
TOKEN = "/token"


def started(site: Site) -> Program:
    site.start_web()
    return site.start_worker()


def computing(worker: Program, times: int = 1) -> None:
    wait_for(lambda: worker.text().count("percent=60") == times, "the app computes")


def analyses(worker: Program) -> int:
    return worker.text().count("analysis begins")


def asked_for_tokens(dpat: Dpat) -> list[int | None]:
    """Return how DPAT answered those who asked for a token."""
    return [each.status for each in dpat.calls() if each.path.endswith(TOKEN)]


def waits_for_access(site: Site, slide_id: str) -> None:
    """Wait until the slide's job waits for access, and look that an operator is told so."""
    job = site.job_in(JobState.PARKED, slide_id)
    assert "waiting for access" in site.types("jobs", "list")
    shown: dict[str, Any] = json.loads(site.types("jobs", "show", job.record.job.id, "--json"))
    assert shown["waitsForAccess"]


def assert_no_secret(site: Site, dpat: Dpat, *, ended: bool = True) -> None:
    """Look that neither the password nor a token that DPAT ever gave is where it may not be."""
    secrets = [PASSWORD, *dpat.tokens._ends]
    for folder in (site.logs, site.data, *([site.queue] if ended else [])):
        assert traces(folder, *secrets) == {}
    assert PASSWORD not in site.types("jobs", "list", "--json")


def test_a_newer_requests_token_goes_before_the_service_accounts(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site(demo_seconds=COMPUTE_S, **ACCOUNT)
    worker = started(site)
    dpat = new_dpat(site, Options(strict=True, user=USER, password=PASSWORD))
    slide_id = dpat.add_slide()
    dpat.create(slide_id)
    computing(worker)
    dpat.expire_tokens()
    assert dpat.create(slide_id).ok
    assert dpat.final(slide_id)["displayResult"] == "ANSWER: 42"
    assert site.job_in(JobState.DONE, slide_id).attempt == 1
    assert (analyses(worker), asked_for_tokens(dpat)) == (1, [])
    assert_no_secret(site, dpat)


@pytest.mark.parametrize("path", ["/files$", "_files/", r"/results/\d+$"], ids=["files", "tile", "result"])
def test_the_service_account_goes_on_wherever_the_token_expires(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat], path: str
) -> None:
    site = new_site(**ACCOUNT)
    worker = started(site)
    dpat = new_dpat(site, Options(strict=True, user=USER, password=PASSWORD))
    slide_id = dpat.add_slide()
    dpat.add_fault(path, "status", status=401)
    dpat.create(slide_id)
    assert dpat.final(slide_id)["displayResult"] == "ANSWER: 42"
    assert site.job_in(JobState.DONE, slide_id).attempt == 1
    assert (analyses(worker), asked_for_tokens(dpat)) == (1, [200])
    assert_no_secret(site, dpat)


def test_a_long_analysis_outlives_many_tokens_of_the_service_account(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site(demo_seconds="5", **ACCOUNT)
    worker = started(site)
    dpat = new_dpat(site, Options(strict=True, user=USER, password=PASSWORD, token_lifetime_s=1))
    slide_id = dpat.add_slide()
    dpat.create(slide_id)
    final = dpat.final(slide_id)
    assert final["displayResult"] == "ANSWER: 42"
    assert site.job_in(JobState.DONE, slide_id).attempt == 1
    assert analyses(worker) == 1
    assert len(asked_for_tokens(dpat)) >= 2
    assert set(asked_for_tokens(dpat)) == {200}
    assert_no_secret(site, dpat)


def test_without_an_account_the_job_waits_until_somebody_asks_again_and_is_not_analysed_twice(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site(demo_seconds=COMPUTE_S)
    worker = started(site)
    dpat = new_dpat(site)
    slide_id = dpat.add_slide()
    first = dpat.create(slide_id).answer["id"]
    wait_for(lambda: "percent=100" in worker.text(), "the app has almost done")
    dpat.add_fault(r"/results/\d+$", "delay", seconds=1.5)  # no update but the final one meets the expired token
    dpat.expire_tokens()
    waits_for_access(site, slide_id)
    assert worker.process.poll() is None

    dpat.clear_faults()
    assert dpat.create(slide_id).ok
    final = dpat.final(slide_id)
    assert (final["id"], final["displayResult"]) == (first, "ANSWER: 42")
    assert site.job_in(JobState.DONE, slide_id).attempt == 1
    assert analyses(worker) == 1
    assert_no_secret(site, dpat)


@pytest.mark.parametrize("wrong", ["password", "permission"])
def test_an_account_that_dpat_refuses_is_one_clear_line_and_the_job_waits(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat], wrong: str
) -> None:
    site = new_site(**ACCOUNT)
    worker = started(site)
    dpat = new_dpat(site, Options(strict=True, user=USER, password="another" if wrong == "password" else PASSWORD))
    if wrong == "permission":
        dpat.add_fault(TOKEN, "status", status=403, count=100)
    slides = [dpat.add_slide() for _ in range(3)]
    dpat.add_fault("/files$", "status", status=401, count=100)
    for slide_id in slides:
        dpat.create(slide_id)
    for slide_id in slides:
        waits_for_access(site, slide_id)
    assert len(asked_for_tokens(dpat)) == 1, "a site may lock an account that fails again and again"
    lines = [line for line in worker.text().splitlines() if "service account" in line]
    assert len(lines) == 1
    assert "user, password or permission is wrong" in lines[0]

    dpat.clear_faults()
    for slide_id in slides:
        assert dpat.create(slide_id).ok
        assert dpat.final(slide_id)["displayResult"] == "ANSWER: 42"
        site.job_in(JobState.DONE, slide_id)
    assert_no_secret(site, dpat)


def test_an_older_dpat_without_tokens_is_no_fault(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site(**ACCOUNT)
    started(site)
    dpat = new_dpat(site, Options(strict=True, api_version="1.8", user=USER, password=PASSWORD))
    slide_id = dpat.add_slide()
    dpat.add_fault("/files$", "status", status=401)
    dpat.create(slide_id)
    waits_for_access(site, slide_id)
    dpat.create(slide_id)
    assert dpat.final(slide_id)["displayResult"] == "ANSWER: 42"


def test_an_ended_job_that_an_operator_has_tried_again_runs_by_the_service_account(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site(max_attempts="1", **ACCOUNT)
    worker = started(site)
    dpat = new_dpat(site, Options(strict=True, user=USER, password=PASSWORD))
    slide_id = dpat.add_slide()
    dpat.add_fault("/files$", "html", count=100)
    dpat.create(slide_id)
    dpat.final(slide_id)
    job = site.job_in(JobState.FAILED, slide_id)
    dpat.clear_faults()
    site.types("jobs", "retry", job.record.job.id)
    site.job_in(JobState.DONE, slide_id)
    assert dpat.shown(slide_id)["displayResult"] == "ANSWER: 42"
    assert analyses(worker) == 1
    assert_no_secret(site, dpat)


def test_no_page_shows_the_account(new_site: Callable[..., Site]) -> None:
    site = new_site(**ACCOUNT)
    site.start_web()
    for page in ("/", "/healthz", "/openapi.json", ROUTE, f"{ROUTE}/info"):
        for accept in ("text/html", "application/json"):
            assert PASSWORD not in site.get(page, accept).text
            assert USER not in site.get(page, accept).text
    assert traces(site.logs, PASSWORD) == {}
