"""Every endpoint of the IA-API, called at the simulator as by an app."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from slidehook.dpat.errors import Conflict, DpatRefused, NotFound, TokenExpired, UnsupportedByDpat
from slidehook.dpat.iaapi.client import DpatClient, DpatServer
from slidehook.dpat.iaapi.models import ResultRecord, Token
from slidehook.settings import Settings
from slidehook.simulator.options import Options
from slidehook.simulator.server import Simulator
from tests.iaapi.little_dpat import LittleDpat, Reply
from tests.simulator.tiny_app import TinyApp

APP = "tiny"
SETTINGS = Settings(_env_file=None)


@pytest.fixture(scope="module")
def sim(sample_slides: Path) -> Iterator[Simulator]:
    with (
        Simulator(sample_slides, Options(strict=True, user="service", password="p\u00e4ss: word")) as sim,
        TinyApp() as app,
    ):
        sim.register(app.url)
        sim.enable(APP)
        yield sim


@pytest.fixture(scope="module")
def old(sample_slides: Path) -> Iterator[Simulator]:
    with Simulator(sample_slides, Options(strict=True, api_version="1.8")) as sim:
        yield sim


def at(sim: Simulator) -> DpatServer:
    return DpatServer(sim.callback_url, SETTINGS)


@pytest.fixture
def api(sim: Simulator) -> DpatClient:
    return at(sim).client(sim.token())


@pytest.fixture
def shown(api: DpatClient, record: ResultRecord) -> int:
    """A result on the slide `immuno`; returns its id."""
    stored = api.create_result(APP, record.model_copy(update={"slide_id": "immuno"}))
    assert isinstance(stored.id, int)
    return stored.id


def test_the_versions(api: DpatClient) -> None:
    versions = api.info()
    assert (versions.api_version, versions.software_version) == ("1.10", "4.2")


def test_a_servers_version_is_known_from_its_answers(sim: Simulator, old: Simulator) -> None:
    newer, older = at(sim).client(sim.token()), at(old).client(old.token())
    newer.slide_info("immuno")
    older.slide_info("immuno")
    assert [newer.supports(each) for each in ("1.5", "1.9", "1.10", "2.0")] == [True, True, True, False]
    assert [older.supports(each) for each in ("1.5", "1.8", "1.9", "1.10")] == [True, True, False, False]


def test_the_image_record(api: DpatClient) -> None:
    info = api.slide_info("immuno")
    assert info.image_size is not None
    assert info.image_size.width == 6144
    assert info.accession_number is None
    assert api.slide_info("immuno", include_phi=True).accession_number == "SAMPLE-0001"


def test_the_case_of_a_slide_and_of_an_accession_number(api: DpatClient) -> None:
    assert [each.id for each in api.case_of("immuno")] == ["immuno", "immuno-dicom"]
    assert [each.id for each in api.case("SAMPLE-0001")] == ["immuno", "immuno-dicom"]
    assert [each.accession_number for each in api.case_of("immuno", include_phi=True)] == ["SAMPLE-0001"] * 2
    assert len(api.case("SAMPLE-0001", issuer="SIMULATOR")) == 2
    assert len(api.case("SAMPLE-0001", issuer_id="SIMULATOR")) == 2
    with pytest.raises(NotFound):
        api.case("SAMPLE-0001", issuer="another")


def test_an_older_server_offers_neither_cases_nor_quality_control(old: Simulator) -> None:
    old.clear_calls()
    api = at(old).client(old.token())
    # The version is asked for once, and no call is made that the server can't have.
    for call in (
        lambda: api.case_of("immuno"),
        lambda: api.case("SAMPLE-0001"),
        lambda: api.set_quality("immuno", "Rejected", version_id="v", application_version="1"),
    ):
        with pytest.raises(UnsupportedByDpat, match=r"needs IA-API 1\.(9|10) or newer"):
            call()
    assert [each.path.rpartition("/")[2] for each in old.calls()] == ["info"]


def test_a_label(api: DpatClient, sample_slides: Path) -> None:
    assert api.label("immuno") == (sample_slides / "immuno.label.jpg").read_bytes()


def test_a_tile_of_a_focal_plane_and_an_optical_path(sim: Simulator, api: DpatClient) -> None:
    content = api.tile("immuno", 13, 1, 2, "jpg", focal_plane=0, optical_path="0")
    assert content is not None
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.size == (256, 256)
    call = sim.calls()[-1]
    assert (call.path.rpartition("/")[2], call.query) == ("1_2_0.jpg", "opticalPath=0")
    with pytest.raises(NotFound):
        api.tile("immuno", 13, 1, 2, "jpg", focal_plane="9")


def test_the_channels_of_a_fluorescence_tile_are_sent_unchanged(dpat: LittleDpat, client: DpatClient) -> None:
    dpat.answer("GET", "/images/S-1_files/8/0_0.png", Reply(body=b"PNG"))
    assert client.tile("S-1", 8, 0, 0, "png", channels="DAPI,Cy 5") == b"PNG"
    assert dpat.calls[0].query == {"channels": ["DAPI,Cy 5"]}


def test_an_attachment_and_parts_of_it(sim: Simulator, api: DpatClient, shown: int) -> None:
    sim.attach(shown, "heat map.bin", bytes(range(100)))
    assert api.attachment(APP, shown, "heat map.bin") == bytes(range(100))
    assert api.attachment(APP, shown, "heat map.bin", start=90) == bytes(range(90, 100))
    assert api.attachment(APP, shown, "heat map.bin", start=10, stop=20) == bytes(range(10, 20))
    assert api.attachment(APP, shown, "heat map.bin", stop=5) == bytes(range(5))
    with pytest.raises(NotFound):
        api.attachment(APP, shown, "another")


def test_a_server_without_ranges_yields_the_same_part(dpat: LittleDpat, client: DpatClient) -> None:
    dpat.answer("GET", "/applications/app/results/1/attachments", Reply(body=bytes(range(100))))
    assert client.attachment("app", 1, "a", start=10, stop=20) == bytes(range(10, 20))
    assert dpat.calls[0].headers["Range"] == "bytes=10-19"


def test_quality_control_is_set_with_the_latest_version(api: DpatClient) -> None:
    before = api.slide_info("immuno").quality_control
    assert before is not None
    api.set_quality("immuno", "Rejected", version_id=before.version_id, application_version="1.0")
    now = api.slide_info("immuno").quality_control
    assert now is not None
    assert now.status == "Rejected"
    with pytest.raises(Conflict):
        api.set_quality("immuno", "QualityOk", version_id=before.version_id, application_version="1.0")


def test_quality_control_whose_answer_was_lost_counts_as_set(sim: Simulator) -> None:
    api = at(sim).client(sim.token(), tries=2)
    before = api.slide_info("immuno-dicom").quality_control
    assert before is not None
    sim.add_fault("/qualityControl$", "cut", after_bytes=5)
    api.set_quality("immuno-dicom", "QualityOk", version_id=before.version_id, application_version="1.0")
    assert sim.quality.get("immuno-dicom")["status"] == "QualityOk"


def test_a_token_for_the_service_account(sim: Simulator) -> None:
    token = at(sim).fetch_token("service", "p\u00e4ss: word", APP)
    assert (token.token_type, token.expires_in) == ("Bearer", 3600)
    assert token.access_token not in repr(token)
    assert at(sim).client(token.access_token).info()


def test_fetching_a_token_is_retried_while_the_server_is_unavailable(sim: Simulator) -> None:
    sim.add_fault("/token$", "status", status=503)
    assert at(sim).fetch_token("service", "p\u00e4ss: word", APP)


def test_a_rejected_service_account_is_reported(sim: Simulator, old: Simulator) -> None:
    with pytest.raises(DpatRefused, match="service account"):
        at(sim).fetch_token("service", "another", APP)
    with pytest.raises(NotFound):
        at(sim).fetch_token("service", "p\u00e4ss: word", "no-such-app")
    with pytest.raises(NotFound):
        at(old).fetch_token("slidehook", "slidehook", APP)


@pytest.mark.parametrize("body", ['{"accessToken": ""}', '{"accessToken": "a b"}', "{}", '{"accessToken": null}'])
def test_a_token_with_characters_invalid_in_headers_is_malformed(body: str) -> None:
    with pytest.raises(ValueError, match="accessToken"):
        Token.model_validate_json(body)


def test_an_expired_token_has_its_own_error(sim: Simulator) -> None:
    api = at(sim).client(sim.token())
    api.info()
    sim.expire_tokens()
    with pytest.raises(TokenExpired):
        api.info()
