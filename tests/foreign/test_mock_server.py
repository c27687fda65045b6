"""The mock server of the package sectra-image-analysis-api against our webserver and workers, each a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openslide
import pytest
from sectra_client.mock_server import MockSectraServer, _make_fake_metadata
from sectra_client.schemas import invocation
from sectra_client.schemas.common import CallbackInfo, Size

from slidehook.jobs.job import JobState
from tests.e2e.conftest import APP, ROUTE, Site
from tests.e2e.running import wait_for

VERSIONS = ("1.5", "1.10")
LONG_S = 120.0


class Dpat:
    """Their server, and a site whose app an administrator has entered there."""

    def __init__(self, server: Any, site: Site) -> None:
        self.server = server
        self.site = site
        self.url = site.url + ROUTE

    def trigger(self, kind: str, slide_id: str, **fields: Any) -> Any:
        """Do as their server does with an invocation of this kind; gives the webserver's answer."""
        callback = CallbackInfo(url=self.server.url, token=self.server.token)
        given = {"applicationId": APP, "slideId": slide_id, "callbackInfo": callback, **fields}
        return self.server.trigger(self.url, getattr(invocation, f"{kind}Invocation")(**given))

    def create(self, slide_id: str, cancellation: str = "c-1") -> Any:
        return self.trigger("Create", slide_id, cancellationToken=cancellation, input=invocation.WholeSlideInput())

    def shown(self, slide_id: str) -> Any:
        """Give the one result that the slide has."""
        (result,) = self.server.get_results(APP, slide_id)
        return result

    def ends(self, slide_id: str, text: str) -> Any:
        """Wait until the slide shows this text, and give the result."""
        wait_for(lambda: self._texts(slide_id) == [text], f"{slide_id} shows {text}", within_s=LONG_S)
        return self.shown(slide_id)

    def _texts(self, slide_id: str) -> list[str]:
        return [each.displayResult for each in self.server.get_results(APP, slide_id)]


@pytest.fixture(params=VERSIONS)
def mock(request: pytest.FixtureRequest, sample_slides: Path) -> Iterator[Any]:
    """Their server, with the sample slides as `one` (a file) and `several`."""
    tiff, folder = sample_slides / "immuno.tiff", sample_slides / "immuno-dicom"
    server = MockSectraServer(api_version=request.param)
    for slide_id, files in (("one", [tiff]), ("several", sorted(folder.iterdir()))):
        server.add_slide_files(slide_id, files)
        with openslide.OpenSlide(tiff if slide_id == "one" else files[0]) as slide:
            width, height = slide.dimensions
        record = _make_fake_metadata(slide_id)
        server.add_slide(record.model_copy(update={"imageSize": Size(width=width, height=height)}))
    with server.run(port=0, host="127.0.0.1"):
        yield server


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    site = new_site(max_attempts="1")
    site.start_web()
    return site


@pytest.fixture
def dpat(mock: Any, site: Site) -> Dpat:
    return Dpat(mock, site)


def test_a_users_slide_is_analysed_changed_and_deleted(dpat: Dpat) -> None:
    dpat.site.start_worker()
    answer = dpat.create("one")
    assert (answer["displayResult"], answer["id"]) == ("analysis queued", 1)
    final = dpat.ends("one", "ANSWER: 42")
    assert final.id == answer["id"]
    assert final.data.result.content[0].polygons
    dpat.site.job_in(JobState.DONE, "one")

    moved = final.model_copy(update={"displayProperties": {**final.displayProperties, "Note": "seen"}})
    told = dpat.trigger("Modify", "one", cancellationToken="c-2", input=moved)
    assert told["versionId"] == dpat.shown("one").versionId != final.versionId
    assert dpat.shown("one").displayProperties["Note"] == "seen"

    assert dpat.trigger("Delete", "one", input=dpat.shown("one")) == {}


def test_an_imported_slide_of_several_files_is_analysed(dpat: Dpat) -> None:
    dpat.site.start_worker()
    assert dpat.server.notify(dpat.url, "several", application_id=APP) == {}
    assert dpat.ends("several", "ANSWER: 42").id == 1
    dpat.site.job_in(JobState.DONE, "several")
    assert dpat.site.keeps_no_slide()


def test_a_queued_analysis_is_cancelled(dpat: Dpat) -> None:
    dpat.create("one", "stop-me")
    assert dpat.trigger("Cancel", "one", cancellationToken="other") == {}
    assert dpat.shown("one").displayResult == "analysis queued"
    assert dpat.trigger("Cancel", "one", cancellationToken="stop-me") == {}
    assert dpat.shown("one").displayResult == "cancelled"
    dpat.site.job_in(JobState.CANCELLED, "one")


def test_deleting_the_result_stops_the_analysis(dpat: Dpat) -> None:
    dpat.create("one")
    assert dpat.trigger("Delete", "one", input=dpat.shown("one")) == {}
    dpat.site.job_in(JobState.CANCELLED, "one")
