from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slidehook.simulator.options import Options
from slidehook.simulator.server import Simulator
from tests.simulator.conftest import Caller
from tests.simulator.tiny_app import TinyApp, result

RESULTS = "/applications/tiny/results"

pytestmark = pytest.mark.usefixtures("tiny")


def shapes(content: Any, kind: str = "primitive") -> dict[str, Any]:
    return {"data": {"context": {}, "result": {"type": kind, "content": content}}}


def test_a_result_is_stored_and_found_again(api: Caller) -> None:
    answer = api.post(RESULTS, json=result(later="unknown fields are kept"))
    stored = answer.json()
    assert answer.status_code == 201
    assert isinstance(stored["id"], int)
    assert stored == result(later="unknown fields are kept") | {"id": 1, "versionId": stored["versionId"]}
    assert api.get(f"{RESULTS}/1").json() == stored
    assert api.get(f"{RESULTS}/slide/immuno").json() == [stored]
    assert api.get(f"{RESULTS}/slide/immuno-dicom").json() == []


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_an_update_creates_a_new_version(api: Caller, sim: Simulator, method: str) -> None:
    stored = api.post(RESULTS, json=result()).json()
    changed = api.request(method, f"{RESULTS}/1", json=stored | {"displayResult": "13 %"})
    assert changed.status_code == 200
    assert changed.json()["versionId"] != stored["versionId"]
    history = sim.results("tiny", "immuno")[0]["history"]
    assert [(version["displayResult"], version["method"]) for version in history] == [
        ("12 %", "POST"),
        ("13 %", method),
    ]


def test_a_stale_update_is_a_conflict(api: Caller) -> None:
    stored = api.post(RESULTS, json=result()).json()
    assert api.put(f"{RESULTS}/1", json=stored).status_code == 200
    assert api.put(f"{RESULTS}/1", json=stored).status_code == 409


@pytest.mark.parametrize(
    "changes", [{"versionId": None}, {"id": 7}, {"id": "1"}, {"slideId": "immuno-dicom"}, {"slideId": "none"}]
)
def test_an_update_of_something_else_is_refused(api: Caller, changes: dict[str, Any]) -> None:
    stored = api.post(RESULTS, json=result()).json()
    assert api.put(f"{RESULTS}/1", json=stored | changes).status_code == 400


@pytest.mark.parametrize(("supported", "refused"), [("PUT", "PATCH"), ("PATCH", "PUT")])
def test_a_server_may_support_only_one_update_method(
    sample_slides: Path, tiny: TinyApp, supported: str, refused: str
) -> None:
    options = Options(strict=True, update_methods="PUT" if supported == "PUT" else "PATCH")
    with Simulator(sample_slides, options) as sim, Caller(sim) as api:
        sim.register(tiny.url)
        stored = api.post(RESULTS, json=result()).json()
        answer = api.request(refused, f"{RESULTS}/1", json=stored)
        assert answer.status_code == 405
        assert supported in answer.headers["Allow"]
        assert api.request(supported, f"{RESULTS}/1", json=stored).status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"slideId": "none"},
        {"slideId": 3},
        {"displayResult": None},
        {"displayProperties": {"a": [1]}},
        {"displayProperties": {"a": True}},
        {"applicationVersion": 1},
        {"data": {}},
        shapes([], "circles"),
        shapes([{"polygons": [{"points": [{"x": "0.1", "y": 0}]}]}]),
        shapes([{"polygons": [{"points": [{"x": 0.1}]}]}]),
        shapes([{"style": {"strokeStyle": "red"}}]),
        shapes([{"style": {"fillStyle": "#12345"}}]),
        shapes({"patches": [{"tag": 1, "position": {"x": 0, "y": 0}}], "tags": ["a"]}, "patchCollection"),
        shapes([{"style": {"size": 2.0}}]),
        shapes({"patches": [{"tag": 0.0, "position": {"x": 0, "y": 0}}], "tags": ["a"]}, "patchCollection"),
        shapes({"patches": [], "tags": ["a"], "patchSize": 64.0}, "patchCollection"),
        shapes({"patches": [], "tags": ["a"], "actions": [{"id": "b", "state": 0.0}]}, "patchCollection"),
    ],
)
def test_a_malformed_result_is_refused_in_one_sentence(api: Caller, wrong: dict[str, Any]) -> None:
    answer = api.post(RESULTS, json=result(**wrong))
    assert answer.status_code == 400
    assert answer.json()["message"].endswith(".")
    assert api.get(f"{RESULTS}/slide/immuno").json() == []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_coordinates_must_be_finite(api: Caller, number: str) -> None:
    text = json.dumps(result()).replace("0.1", number, 1)
    assert api.post(RESULTS, data=text).status_code == 400


@pytest.mark.parametrize("field", ["slideId", "displayResult", "displayProperties", "applicationVersion", "data"])
def test_a_result_must_have_every_field(api: Caller, field: str) -> None:
    body = result()
    del body[field]
    answer = api.post(RESULTS, json=body)
    assert answer.status_code == 400
    assert field in answer.json()["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_a_body_that_is_not_a_json_object_is_refused(api: Caller, body: bytes) -> None:
    assert api.post(RESULTS, data=body).status_code == 400


def test_unknown_results_and_apps_are_404(api: Caller) -> None:
    assert api.get(f"{RESULTS}/9").status_code == 404
    assert api.put(f"{RESULTS}/9", json=result(versionId="x")).status_code == 404
    assert api.post("/applications/other/results", json=result()).status_code == 404
    assert api.get("/applications/other/results/slide/immuno").status_code == 404
    assert api.get(f"{RESULTS}/slide/none").status_code == 404


def test_attachments_can_be_read_in_ranges(api: Caller, sim: Simulator) -> None:
    api.post(RESULTS, json=result())
    sim.attach(1, "mask.bin", b"0123456789")
    path = f"{RESULTS}/1/attachments?name=mask.bin"
    assert api.get(path).content == b"0123456789"
    part = api.get(path, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    assert part.headers["Content-Range"] == "bytes 2-4/10"
    assert api.get(path, headers={"Range": "bytes=20-"}).status_code == 416
    assert api.get(f"{RESULTS}/1/attachments?name=other").status_code == 404
    assert api.get(f"{RESULTS}/1").json()["attachments"] == [{"name": "mask.bin", "state": "stored"}]


def test_the_service_account_gets_a_token(api: Caller) -> None:
    del api.headers["Authorization"]
    form = {"grant_type": "client_credentials"}
    right = ("slidehook", "slidehook")
    given = api.post("/token?applicationId=tiny", data=form, auth=right).json()
    assert given["tokenType"] == "Bearer"
    assert given["expiresIn"] == 3600
    assert api.get("/info", headers={"Authorization": f"Bearer {given['accessToken']}"}).status_code == 200
    assert api.post("/token?applicationId=tiny", data=form, auth=("slidehook", "x")).status_code == 401
    assert api.post("/token?applicationId=tiny", data=form).status_code == 401
    assert api.post("/token?applicationId=tiny", auth=right).status_code == 400
    assert api.post("/token?applicationId=other", data=form, auth=right).status_code == 404


def test_expired_tokens_are_refused(api: Caller, sim: Simulator) -> None:
    assert api.get("/info").status_code == 200
    assert sim.expire_tokens() >= 1
    assert api.get("/info").status_code == 401


@pytest.mark.parametrize("patch", ["403", "404", "405", "500", "501"])
def test_a_server_may_answer_patch_with_any_error(sample_slides: Path, tiny: TinyApp, patch: Any) -> None:
    with Simulator(sample_slides, Options(patch=patch)) as sim, Caller(sim) as api:
        sim.register(tiny.url)
        stored = api.post(RESULTS, json=result()).json()
        assert api.patch(f"{RESULTS}/1", json=stored).status_code == int(patch)
        assert api.put(f"{RESULTS}/1", json=stored).status_code == 200


def test_a_server_may_merge_an_update_by_patch(sample_slides: Path, tiny: TinyApp) -> None:
    with Simulator(sample_slides, Options(patch="merge")) as sim, Caller(sim) as api:
        sim.register(tiny.url)
        stored = api.post(RESULTS, json=result(displayProperties={"a": 1, "b": 2})).json()
        merged = api.patch(f"{RESULTS}/1", json=stored | {"displayProperties": {"b": 3, "c": 4}}).json()
        assert merged["displayProperties"] == {"a": 1, "b": 3, "c": 4}
        put = api.put(f"{RESULTS}/1", json=merged | {"displayProperties": {"c": 5}}).json()
        assert put["displayProperties"] == {"c": 5}


def test_an_old_server_may_refuse_calls_of_a_newer_version(sample_slides: Path) -> None:
    with Simulator(sample_slides, Options(api_version="1.5", refuse_newer=True)) as sim, Caller(sim) as api:
        assert api.get("/info").status_code == 400
        assert api.get("/info", headers={"X-Sectra-ApiVersion": "1.5"}).status_code == 200
