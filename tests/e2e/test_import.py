"""A scanner's image is imported: DPAT notifies the app, in the newer servers' form or the older ones'."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from slidehook.jobs.job import JobState
from slidehook.simulator.options import MultipartKind, Options
from tests.e2e.conftest import APP, Dpat, Site


@pytest.mark.parametrize("old", [False, True], ids=["new form", "old form"])
def test_an_imported_slide_is_analysed(dpat: Dpat, site: Site, *, old: bool) -> None:
    slide_id = dpat.add_slide()
    (answer,) = dpat.notify(slide_id, old=old)
    assert (answer.status, answer.answer, answer.fault) == (200, {}, None)
    assert len(dpat.results(APP, slide_id)) == 1
    assert dpat.final(slide_id)["displayResult"] == "ANSWER: 42"
    assert site.job_in(JobState.DONE, slide_id).record.job.trigger == "import"
    assert not [each for each in dpat.calls() if each.path.endswith(f"{slide_id}/info")]


@pytest.mark.parametrize("multipart", ["related", "form-data"])
def test_a_slide_of_several_files_is_analysed(
    site: Site, new_dpat: Callable[..., Dpat], multipart: MultipartKind
) -> None:
    dpat = new_dpat(site, Options(strict=True, multipart=multipart))
    slide_id = dpat.add_slide("immuno-dicom")
    dpat.notify(slide_id)
    final = dpat.final(slide_id)
    size = dpat.image_record(slide_id)["imageSize"]
    assert final["displayResult"] == "ANSWER: 42"
    told = {"Answer": 42, "Width (px)": size["width"], "Height (px)": size["height"]}
    assert final["displayProperties"].items() >= told.items()


@pytest.mark.parametrize("multipart", ["related", "form-data"])
def test_a_user_may_ask_for_a_slide_of_several_files(
    site: Site, new_dpat: Callable[..., Dpat], multipart: MultipartKind
) -> None:
    dpat = new_dpat(site, Options(strict=True, multipart=multipart))
    slide_id = dpat.add_slide("immuno-dicom")
    answer = dpat.create(slide_id)
    assert answer.ok, answer
    assert dpat.final(slide_id)["id"] == answer.answer["id"]


def test_an_import_during_a_users_analysis_starts_no_second_one(quiet_dpat: Dpat, quiet_site: Site) -> None:
    slide_id = quiet_dpat.add_slide()
    quiet_dpat.create(slide_id)
    (answer,) = quiet_dpat.notify(slide_id)
    assert (answer.status, answer.answer) == (200, {})
    assert len(quiet_dpat.shown(slide_id)["history"]) == 1
    assert len(quiet_site.jobs(slide_id)) == 1


def test_an_imported_slide_is_kept_when_dpat_is_away_for_a_moment(dpat: Dpat, site: Site) -> None:
    slide_id = dpat.add_slide()
    dpat.add_fault("/results$", "status", method="POST", status=503, count=3)  # as often as a webhook tries
    (answer,) = dpat.notify(slide_id)
    assert answer.status == 502
    assert dpat.final(slide_id)["displayResult"] == "ANSWER: 42"
    site.job_in(JobState.DONE, slide_id)
