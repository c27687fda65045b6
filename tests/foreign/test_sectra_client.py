"""The client of the package sectra-image-analysis-api, as other apps use it, against the simulator as a process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from sectra_client import SectraClient
from sectra_client.schemas import AdaptedResult, QualityControl, Result
from sectra_client.utils.errors import SectraRequestError

from tests.simulator.tiny_app import TinyApp, result

APP = "tiny"
VERSIONS = ("1.5", "1.10", "1.11")


class Started:
    """A running simulator's own endpoints."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False

    def do(self, method: str, path: str, **body: Any) -> Any:
        answer = self.session.request(method, f"{self.url}/sim/{path}", json=body or None, timeout=60)
        answer.raise_for_status()
        return answer.json()


@pytest.fixture
def slides(sample_slides: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample_slides, tmp_path / "slides"))


@pytest.fixture(params=VERSIONS)
def dpat(request: pytest.FixtureRequest, slides: Path) -> Iterator[Started]:
    slidehook = str(Path(sys.executable).with_name("slidehook"))
    command = [slidehook, "simulator", "--slides", str(slides), "--api-version", request.param]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            started = Started(process.stdout.readline().strip())
            with started.session:
                yield started
        finally:
            process.terminate()
            process.wait(120)


@pytest.fixture
def client(dpat: Started, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Their client, made of what an invocation of a registered app brings."""
    # It remembers each address's version for an hour, and a simulator may get the port of an earlier one.
    monkeypatch.setattr("sectra_client.client._info_cache", {})
    with TinyApp() as app:
        dpat.do("POST", "apps", url=app.url)
        dpat.do("PATCH", f"apps/{APP}", enabled=True)
        dpat.do("POST", "invocations", applicationId=APP, slideId="immuno")
        callback = app.received[0][1]["callbackInfo"]
        with SectraClient(callback["url"], callback["token"], _allow_http=True) as client:
            yield client


def is_older(client: Any, version: tuple[int, int]) -> bool:
    return tuple(map(int, client.version_info.apiVersion.split("."))) < version


def test_records_label_and_files_are_read(client: Any, slides: Path, tmp_path: Path) -> None:
    record = client.get_image_metadata("immuno", extended=True, phi=True)
    assert (record.id, record.accessionNumber, record.isStreamable) == ("immuno", "SAMPLE-0001", True)
    assert client.get_image_metadata("immuno").accessionNumber is None
    assert client.get_label_image("immuno").convert_to_pil().format == "JPEG"
    files = client.download_slide_files("immuno-dicom", tmp_path / "files")
    wanted = sorted((slides / "immuno-dicom").iterdir())
    assert sorted(each.name for each in files) == [each.name for each in wanted]
    assert all((tmp_path / "files" / each.name).read_bytes() == each.read_bytes() for each in wanted)


def test_the_images_of_a_case_are_read(client: Any) -> None:
    if is_older(client, (1, 9)):
        with pytest.raises(SectraRequestError, match="404"):
            client.get_image_infos_in_case_by_slide_id("immuno")
        return
    for images in (
        client.get_image_infos_in_case("SAMPLE-0001", phi=True),
        client.get_image_infos_in_case_by_slide_id("immuno", phi=True),
    ):
        assert {each.id for each in images} == {"immuno", "immuno-dicom"}


def test_results_are_stored_read_and_updated(client: Any, dpat: Started) -> None:
    stored = client.create_results(APP, Result(**result()))
    assert client.get_result_by_result_id(APP, stored.id) == stored
    assert client.get_all_results("immuno", APP) == [stored]
    changed = AdaptedResult(**stored.model_dump() | {"displayResult": "13 %"})
    updated = client.update_results(APP, stored.id, changed)
    assert (updated.displayResult, updated.versionId != stored.versionId) == ("13 %", True)
    (shown,) = dpat.do("GET", f"results?applicationId={APP}")
    assert [each["method"] for each in shown["history"]] == ["POST", "PUT"]
    with pytest.raises(SectraRequestError, match="409"):
        client.update_results(APP, stored.id, changed)


def test_a_gallery_is_stored(client: Any) -> None:
    content = {
        "description": "Cells",
        "polygons": [],
        "patches": [{"tag": 0, "position": {"x": 0.1, "y": 0.1}, "sortKeyValue": 0.5}],
        "actions": [{"id": "recount", "state": 0, "name": "Recount", "tooltip": ""}],
        "tags": ["positive", "negative"],
        "patchSize": 64,
        "magnification": 20.0,
    }
    gallery = Result(**result(data={"result": {"type": "patchCollection", "content": content}}))
    stored = client.create_results(APP, gallery)
    assert client.get_result_by_result_id(APP, stored.id).data == gallery.data


def test_the_quality_is_set(client: Any) -> None:
    if is_older(client, (1, 10)):
        assert client.get_image_metadata("immuno").qualityControl is None
        return
    before = client.get_image_metadata("immuno").qualityControl
    wanted = {"status": "QualityOk", "versionId": before.versionId}
    client.set_quality_control("immuno", QualityControl(applicationVersion="1.0", qualityControl=wanted))
    after = client.get_image_metadata("immuno").qualityControl
    assert (after.status.value, after.versionId != before.versionId) == ("QualityOk", True)
