from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from email.parser import BytesParser
from pathlib import Path

import pytest
import requests
from PIL import Image

from slidehook.simulator.options import Options
from slidehook.simulator.server import Simulator
from tests.simulator.conftest import Caller


def test_every_answer_states_the_versions(api: Caller) -> None:
    for path, status in (("/info", 200), ("/slides/none/info", 404), ("/nothing/here", 404)):
        answer = api.get(path)
        assert answer.status_code == status
        assert answer.headers["X-Sectra-ApiVersion"] == "1.10"
        assert answer.headers["X-Sectra-SoftwareVersion"] == "4.2"


def test_a_call_without_the_version_header_is_refused(api: Caller) -> None:
    del api.headers["X-Sectra-ApiVersion"]
    answer = api.get("/info")
    assert answer.status_code == 400
    assert "X-Sectra-ApiVersion" in answer.json()["message"]
    assert answer.headers["X-Sectra-ApiVersion"] == "1.10"


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer wrong", "Basic eDp5"])
def test_a_call_without_a_valid_token_is_refused(api: Caller, header: str | None) -> None:
    del api.headers["Authorization"]
    assert api.get("/info", headers={"Authorization": header} if header else {}).status_code == 401


def test_identifying_fields_are_returned_only_on_request(api: Caller) -> None:
    record = api.get("/slides/immuno/info?scope=extended").json()
    assert record["staining"] == {"displayName": "IHC DAB"}
    assert record["qualityControl"]["status"] == "NotSet"
    assert "accessionNumber" not in record
    assert api.get("/slides/immuno/info?includePHI=true").json()["accessionNumber"] == "SAMPLE-0001"


def test_the_label_is_sent(api: Caller, sample_slides: Path) -> None:
    answer = api.get("/slides/immuno/label")
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.content == (sample_slides / "immuno.label.jpg").read_bytes()


def test_a_slide_without_label_is_answered_with_204(sample_slides: Path, tmp_path: Path) -> None:
    (tmp_path / "bare.tiff").symlink_to(sample_slides / "immuno.tiff")
    with Simulator(tmp_path) as sim, Caller(sim) as api:
        answer = api.get("/slides/bare/label")
        assert answer.status_code == 204
        # The connection must be usable for another call.
        assert api.get("/info").status_code == 200


def test_a_single_file_is_sent_without_multipart(api: Caller, sample_slides: Path) -> None:
    answer = api.get("/slides/immuno/files")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="immuno.tiff"'
    assert answer.content == (sample_slides / "immuno.tiff").read_bytes()


@pytest.mark.parametrize("kind", ["related", "form-data"])
def test_several_files_are_sent_as_multipart(sample_slides: Path, kind: str) -> None:
    options = Options(strict=True, multipart="related" if kind == "related" else "form-data")
    with Simulator(sample_slides, options) as sim, Caller(sim) as api:
        answer = api.get("/slides/immuno-dicom/files")
    assert answer.headers["Content-Type"].startswith(f"multipart/{kind}; boundary=")
    received = read_multipart(answer)
    assert received == {file.name: file.read_bytes() for file in (sample_slides / "immuno-dicom").iterdir()}


def read_multipart(answer: requests.Response) -> dict[str | None, bytes]:
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    content = {}
    for part in BytesParser().parsebytes(head + answer.content).walk():
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes) and not part.is_multipart():
            content[part.get_filename()] = payload
    return content


@pytest.mark.parametrize(
    ("tile", "size"),
    [("0/0_0.jpg", (1, 1)), ("13/0_0.jpg", (256, 256)), ("12/11_8.png", (256, 256)), ("8/0_0_0.jpeg", (192, 144))],
)
def test_tiles_have_deep_zoom_levels(api: Caller, tile: str, size: tuple[int, int]) -> None:
    answer = api.get(f"/images/immuno_files/{tile}?opticalPath=0")
    assert answer.status_code == 200
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.size == size
        assert answer.headers["Content-Type"] == Image.MIME[str(picture.format)]


@pytest.mark.parametrize("tile", ["14/0_0.jpg", "13/24_0.jpg", "13/0_0.gif", "13/0_0_7.jpg", "13/0.jpg"])
def test_a_missing_tile_is_404(api: Caller, tile: str) -> None:
    assert api.get(f"/images/immuno_files/{tile}").status_code == 404
    assert api.get("/images/immuno_files/13/0_0.jpg?opticalPath=9").status_code == 404


def test_tiles_can_be_read_by_many_at_once(sim: Simulator, api: Caller) -> None:
    def read(number: int) -> bytes:
        url = f"{sim.callback_url}/images/immuno_files/13/{number % 6 + 9}_{number // 6 + 6}.jpg"
        return requests.get(url, headers=dict(api.headers), timeout=60).content

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(read, range(24)))
    assert together == [read(number) for number in range(24)]


def test_a_case_is_all_slides_with_its_accession_number(api: Caller) -> None:
    for path in (
        "/requests/SAMPLE-0001/images/info",
        "/requests/SAMPLE-0001/images/info?accessionNumberIssuer=SIMULATOR",
        "/slides/immuno/request/images/info",
    ):
        assert [record["id"] for record in api.get(path).json()] == ["immuno", "immuno-dicom"]
    with_phi = api.get("/requests/SAMPLE-0001/images/info?includePHI=true").json()
    assert {record["accessionNumber"] for record in with_phi} == {"SAMPLE-0001"}
    assert api.get("/requests/OTHER/images/info").status_code == 404
    assert api.get("/requests/SAMPLE-0001/images/info?accessionNumberIssuer=X").status_code == 404


def test_older_servers_lack_the_newer_calls(sample_slides: Path) -> None:
    with Simulator(sample_slides, Options(strict=True, api_version="1.8")) as sim, Caller(sim) as api:
        assert api.get("/requests/SAMPLE-0001/images/info").status_code == 404
        assert api.put("/slides/immuno/qualityControl", json={}).status_code == 404
        assert api.post("/token").status_code == 404
        assert "qualityControl" not in api.get("/slides/immuno/info").json()


def test_quality_control_changes_by_version(api: Caller) -> None:
    version = api.get("/slides/immuno/info").json()["qualityControl"]["versionId"]

    def put(status: str, version_id: str) -> requests.Response:
        wanted = {"status": status, "versionId": version_id}
        body = {"applicationVersion": "1.0", "qualityControl": wanted}
        return api.put("/slides/immuno/qualityControl", json=body)

    assert put("Blurred", version).status_code == 400
    changed = put("Rejected", version)
    assert changed.json() == api.get("/slides/immuno/info").json()["qualityControl"]
    assert changed.json()["status"] == "Rejected"
    assert put("QualityOk", version).status_code == 409
