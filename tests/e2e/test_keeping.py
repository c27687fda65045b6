"""What a site keeps of a job: the thumbnail always, the label and identifying fields only where it says so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from slidehook.jobs.job import JobState
from slidehook.models.images import PHI_FIELDS
from slidehook.simulator.samples import make_label
from tests.e2e.conftest import Dpat, Site, running_site
from tests.e2e.running import traces

IDENTIFYING: dict[str, Any] = {
    "seriesInstanceUid": "1.2.826.0.1.3680043.8.498.777001",
    "lisSlideId": "LIS-777002",
    "accessionNumber": "ACC-777003",
    "accessionNumberIssuer": "ISSUER-777004",
    "studyInstanceUid": "1.2.826.0.1.3680043.8.498.777005",
    "examId": "EXAM-777006",
    "examDateTime": "2024-02-03T04:05:06Z",
    "examFreeFields": {"note": "FREE-777007"},
}
WORDS = [*(each for each in IDENTIFYING.values() if isinstance(each, str)), "FREE-777007"]


def size_of_thumbnail(site: Site, slide_id: str) -> tuple[int, int]:
    with Image.open(site.small_data(slide_id) / "thumbnail.png") as picture:
        picture.load()
        assert picture.mode == "RGB"
        return picture.size


def analysed(dpat: Dpat, site: Site, slide_id: str) -> None:
    dpat.create(slide_id)
    assert dpat.final(slide_id)["displayResult"] == "ANSWER: 42"
    site.job_in(JobState.DONE, slide_id)


def test_the_thumbnail_comes_from_dpats_tiles(dpat: Dpat, site: Site) -> None:
    slide_id = dpat.add_slide()
    analysed(dpat, site, slide_id)
    assert size_of_thumbnail(site, slide_id) == (24, 18)
    assert len([each for each in dpat.calls() if f"{slide_id}_files/" in each.path]) == 1


def test_the_thumbnail_of_a_slide_that_does_not_stream_is_made_from_its_file(dpat: Dpat, site: Site) -> None:
    slide_id = dpat.add_slide(isStreamable=False)
    analysed(dpat, site, slide_id)
    assert size_of_thumbnail(site, slide_id) == (24, 18)
    assert not [each for each in dpat.calls() if f"{slide_id}_files/" in each.path]


def test_the_thumbnail_is_made_from_the_file_where_dpat_has_no_tiles(dpat: Dpat, site: Site) -> None:
    slide_id = dpat.add_slide()
    dpat.add_fault("_files/", "status", status=404, count=100)
    analysed(dpat, site, slide_id)
    assert size_of_thumbnail(site, slide_id) == (24, 18)


def test_the_image_record_is_kept(dpat: Dpat, site: Site) -> None:
    slide_id = dpat.add_slide(staining={"displayName": "IHC 777"})
    analysed(dpat, site, slide_id)
    kept = json.loads((site.small_data(slide_id) / "metadata.json").read_text())
    assert kept["imageSize"] == dpat.image_record(slide_id)["imageSize"]
    assert kept["staining"] == {"displayName": "IHC 777"}


def test_the_identifying_fields_here_are_all_that_there_are(dpat: Dpat) -> None:
    slide_id = dpat.add_slide(**IDENTIFYING)
    with_them, without = dpat.image_record(slide_id, phi=True), dpat.image_record(slide_id)
    assert set(with_them) - set(without) == set(IDENTIFYING)
    assert len(PHI_FIELDS) == len(IDENTIFYING)


def test_nothing_identifying_is_asked_for_or_kept_by_default(dpat: Dpat, site: Site) -> None:
    slide_id = dpat.add_slide(**IDENTIFYING)
    make_label(dpat.folder.get(slide_id).label_path)
    analysed(dpat, site, slide_id)
    kept = json.loads((site.small_data(slide_id) / "metadata.json").read_text())
    assert {name: kept.get(name) for name in IDENTIFYING} == dict.fromkeys(IDENTIFYING)
    assert not (site.small_data(slide_id) / "label.jpg").exists()
    assert [each for each in dpat.calls() if "PHI" in each.query or each.path.endswith("/label")] == []


def test_identifying_fields_that_come_unasked_are_not_kept(dpat: Dpat, site: Site) -> None:
    slide_id = dpat.add_slide(**IDENTIFYING)
    dpat.notify(slide_id, include_phi=True)
    dpat.final(slide_id)
    site.job_in(JobState.DONE, slide_id)
    for folder in (site.queue, site.data, site.logs):
        assert traces(folder, *WORDS) == {}


def test_identifying_fields_that_come_unasked_do_not_reach_the_queue(quiet_dpat: Dpat, quiet_site: Site) -> None:
    slide_id = quiet_dpat.add_slide(**IDENTIFYING)
    quiet_dpat.notify(slide_id, include_phi=True)
    assert len(quiet_site.jobs(slide_id)) == 1
    assert traces(quiet_site.queue, *WORDS) == {}


@pytest.fixture(scope="module")
def open_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site that keeps what identifies a patient."""
    with running_site(tmp_path_factory.mktemp("open"), store_phi="true", web_processes="1") as site:
        site.start_web()
        site.start_worker()
        yield site


def test_a_site_that_says_so_keeps_identifying_fields_and_the_label(
    open_site: Site, new_dpat: Callable[..., Dpat]
) -> None:
    dpat = new_dpat(open_site)
    slide_id = dpat.add_slide(**IDENTIFYING)
    label: Path = dpat.folder.get(slide_id).label_path
    make_label(label)
    analysed(dpat, open_site, slide_id)
    kept = json.loads((open_site.small_data(slide_id) / "metadata.json").read_text())
    assert {name: kept.get(name) for name in IDENTIFYING} == IDENTIFYING
    assert (open_site.small_data(slide_id) / "label.jpg").read_bytes() == label.read_bytes()
    assert set(WORDS) == {word for words in traces(open_site.queue, *WORDS).values() for word in words}


def test_a_slide_without_a_label_is_analysed_all_the_same(open_site: Site, new_dpat: Callable[..., Dpat]) -> None:
    dpat = new_dpat(open_site)
    slide_id = dpat.add_slide()
    analysed(dpat, open_site, slide_id)
    assert [each.status for each in dpat.calls() if each.path.endswith("/label")] == [204]
    assert size_of_thumbnail(open_site, slide_id) == (24, 18)
    assert not (open_site.small_data(slide_id) / "label.jpg").exists()


def test_what_is_kept_of_a_patient_is_readable_by_the_service_alone(
    open_site: Site, new_dpat: Callable[..., Dpat]
) -> None:
    dpat = new_dpat(open_site)
    slide_id = dpat.add_slide(**IDENTIFYING)
    analysed(dpat, open_site, slide_id)
    assert (open_site.small_data(slide_id).stat().st_mode & 0o077) == 0
