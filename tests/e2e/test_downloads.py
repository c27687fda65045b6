"""Slides that come cut, as garbage or not at all: none of it ever passes for a slide."""

from __future__ import annotations

from typing import Any

import pytest

from slidehook.dpat.stored_result import RED
from slidehook.jobs.job import JobState
from tests.e2e.conftest import Dpat, Site


def failed(dpat: Dpat, site: Site, slide_id: str) -> dict[str, Any]:
    """Wait until the slide says "failed", in red, and the job is in failed/; nothing of it may stay on disk."""
    dpat.create(slide_id)
    final = dpat.final(slide_id)
    (frame,) = final["data"]["result"]["content"]
    assert final["displayResult"].startswith("failed: ")
    assert [each["label"] for each in frame["labels"]] == [final["displayResult"]]
    assert frame["style"]["strokeStyle"] == RED
    job = site.job_in(JobState.FAILED, slide_id)
    assert job.path.is_relative_to(site.queue / "failed")
    assert site.keeps_no_slide()
    return final


@pytest.mark.parametrize("like", ["immuno", "immuno-dicom"], ids=["one file", "several files"])
@pytest.mark.parametrize("times", [1, 2])
def test_a_cut_download_is_tried_again_and_ends_right(dpat: Dpat, site: Site, like: str, times: int) -> None:
    slide_id = dpat.add_slide(like)
    dpat.add_fault("/files$", "cut", count=times, after_bytes=100_000)
    dpat.create(slide_id)
    assert dpat.final(slide_id)["displayResult"] == "ANSWER: 42"
    sent = [each.bytes_sent for each in dpat.calls() if each.path.endswith("/files")]
    assert sent[:-1] == [100_000] * times
    assert sent[-1] > 100_000
    assert site.job_in(JobState.DONE, slide_id).attempt == 1
    assert site.keeps_no_slide()


@pytest.mark.parametrize("like", ["immuno", "immuno-dicom"], ids=["one file", "several files"])
def test_a_download_that_is_always_cut_fails_visibly_and_leaves_nothing_on_disk(
    dpat: Dpat, site: Site, like: str
) -> None:
    slide_id = dpat.add_slide(like)
    dpat.add_fault("/files$", "cut", count=100, after_bytes=100_000)
    assert "broke" in failed(dpat, site, slide_id)["displayResult"]


def test_a_file_that_is_no_slide_fails_visibly_at_once(dpat: Dpat, site: Site) -> None:
    slide_id = dpat.add_slide()
    dpat.add_fault("/files$", "short", count=100, after_bytes=1000)
    assert "OpenSlide" in failed(dpat, site, slide_id)["displayResult"]
    assert [each.bytes_sent for each in dpat.calls() if each.path.endswith("/files")] == [1000]


def test_a_sign_in_page_does_not_pass_for_a_slide(dpat: Dpat, site: Site) -> None:
    slide_id = dpat.add_slide()
    dpat.add_fault("/files$", "html", count=100)
    assert "HTML" in failed(dpat, site, slide_id)["displayResult"]
