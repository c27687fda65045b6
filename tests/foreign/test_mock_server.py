"""The mock server of the package sectra-image-analysis-api against our webserver and workers, each a process."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openslide
import pytest
from sectra_client.mock_server import MockSectraServer
from sectra_client.schemas import invocation
from sectra_client.schemas.common import CallbackInfo, DisplayedName, Size
from sectra_client.schemas.image import FocalPlane, ImageMetadata, OpticalPath, SlideFormat, TileFormat

from slidehook.jobs.job import JobState
from tests.e2e.conftest import APP, ROUTE, Site
from tests.e2e.running import wait_for

VERSIONS = ("1.5", "1.10")
LONG_S = 120.0
QUEUED = "analysis queued, 0 %"


class Dpat:
    """Their server, and a site whose app an administrator has entered there."""

    def __init__(self, server: Any, site: Site) -> None:
        self.server = server
        self.site = site
        self.url = site.url + ROUTE

    def trigger(self, kind: str, slide_id: str, **fields: Any) -> Any:
        """Do as their server does with an invocation of this kind; returns the webserver's answer."""
        callback = CallbackInfo(url=self.server.url, token=self.server.token)
        given = {"applicationId": APP, "slideId": slide_id, "callbackInfo": callback, **fields}
        return self.server.trigger(self.url, getattr(invocation, f"{kind}Invocation")(**given))

    def create(self, slide_id: str, cancellation: str = "c-1") -> Any:
        return self.trigger("Create", slide_id, cancellationToken=cancellation, input=invocation.WholeSlideInput())

    def shown(self, slide_id: str) -> Any:
        """Return the one result that the slide has."""
        (result,) = self.server.get_results(APP, slide_id)
        return result

    def ends(self, slide_id: str, text: str) -> Any:
        """Wait until the slide shows this text, and give the result."""
        wait_for(lambda: self._texts(slide_id) == [text], f"{slide_id} shows {text}", within_s=LONG_S)
        return self.shown(slide_id)

    def _texts(self, slide_id: str) -> list[str]:
        return [each.displayResult for each in self.server.get_results(APP, slide_id)]


@pytest.fixture(params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    with MockSectraServer(api_version=request.param).run(port=0, host="127.0.0.1") as server:
        yield server


@pytest.fixture
def dpat(server: Any, site: Site) -> Dpat:
    """Their server, and a site that analyses."""
    return Dpat(server, site)


@pytest.fixture
def quiet_dpat(server: Any, quiet_site: Site) -> Dpat:
    """Their server, and a site without workers."""
    return Dpat(server, quiet_site)


def add_slide(dpat: Dpat, *files: Path) -> str:
    """Give their server a slide that nobody else has."""
    slide_id = f"slide-{uuid.uuid4().hex[:8]}"
    with openslide.OpenSlide(files[0]) as slide:
        width, height = slide.dimensions
    jpeg = TileFormat(mimeType="image/jpeg", extension="jpg")
    record = ImageMetadata(
        id=slide_id,
        isStreamable=True,
        imageSize=Size(width=width, height=height),
        tileSize=Size(width=256, height=256),
        micronsPerPixel=0.25,
        focalPlanes=[FocalPlane(id="0", offsetUm=0.0)],
        opticalPaths=[OpticalPath(id="0", description="Brightfield")],
        storedTileFormat=jpeg,
        availableTileFormats=[jpeg],
        fileFormat=SlideFormat(mimeType="image/tiff"),
        staining=DisplayedName(displayName="HE"),
        block=DisplayedName(displayName="A1"),
    )
    dpat.server.add_slide(record)
    dpat.server.add_slide_files(slide_id, list(files))
    return slide_id


def test_a_users_slide_is_analysed_changed_and_deleted(dpat: Dpat, sample_slides: Path) -> None:
    slide_id = add_slide(dpat, sample_slides / "immuno.tiff")
    answer = dpat.create(slide_id)
    assert (answer["displayResult"], answer["id"]) == (QUEUED, 1)
    final = dpat.ends(slide_id, "ANSWER: 42")
    assert final.id == answer["id"]
    assert final.data.result.content[0].polygons
    dpat.site.job_in(JobState.DONE, slide_id)

    moved = final.model_copy(update={"displayProperties": {**final.displayProperties, "Note": "seen"}})
    told = dpat.trigger("Modify", slide_id, cancellationToken="c-2", input=moved)
    assert told["versionId"] == dpat.shown(slide_id).versionId != final.versionId
    assert dpat.shown(slide_id).displayProperties["Note"] == "seen"

    assert dpat.trigger("Delete", slide_id, input=dpat.shown(slide_id)) == {}


def test_an_imported_slide_of_several_files_is_analysed(dpat: Dpat, sample_slides: Path) -> None:
    slide_id = add_slide(dpat, *sorted((sample_slides / "immuno-dicom").iterdir()))
    dpat.server.notify(dpat.url, slide_id, application_id=APP)
    assert dpat.ends(slide_id, "ANSWER: 42").id == 1
    dpat.site.job_in(JobState.DONE, slide_id)


def test_a_queued_analysis_is_cancelled(quiet_dpat: Dpat, sample_slides: Path) -> None:
    slide_id = add_slide(quiet_dpat, sample_slides / "immuno.tiff")
    token, other = uuid.uuid4().hex, uuid.uuid4().hex
    quiet_dpat.create(slide_id, token)
    assert quiet_dpat.trigger("Cancel", slide_id, cancellationToken=other) == {}
    assert quiet_dpat.shown(slide_id).displayResult == QUEUED
    assert quiet_dpat.trigger("Cancel", slide_id, cancellationToken=token) == {}
    assert quiet_dpat.shown(slide_id).displayResult == "cancelled"
    quiet_dpat.site.job_in(JobState.CANCELLED, slide_id)


def test_deleting_the_result_stops_the_analysis(quiet_dpat: Dpat, sample_slides: Path) -> None:
    slide_id = add_slide(quiet_dpat, sample_slides / "immuno.tiff")
    quiet_dpat.create(slide_id)
    assert quiet_dpat.trigger("Delete", slide_id, input=quiet_dpat.shown(slide_id)) == {}
    quiet_dpat.site.job_in(JobState.CANCELLED, slide_id)
