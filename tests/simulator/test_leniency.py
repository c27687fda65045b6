"""Requests and answers known from third-party programs: accepted, and rejected only with `strict`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from slidehook.simulator.errors import BadAppAnswer
from slidehook.simulator.options import SOFTWARE_VERSIONS, Options
from slidehook.simulator.server import Simulator
from tests.simulator.conftest import Caller
from tests.simulator.tiny_app import TinyApp, result

RESULTS = "/applications/tiny/results"
HOOKS = "/hooks/tiny/results"
ARC = {"center": {"x": 0.1, "y": 0.1}, "radius": 0.05, "startAngle": 0, "endAngle": 3.14}


@pytest.fixture
def lenient(sample_slides: Path) -> Iterator[Simulator]:
    with Simulator(sample_slides) as simulator:
        yield simulator


@pytest.fixture
def app() -> Iterator[TinyApp]:
    with TinyApp() as app:
        yield app


@pytest.fixture
def plain(lenient: Simulator, app: TinyApp) -> Iterator[Caller]:
    """A caller that states no version."""
    lenient.register(app.url)
    lenient.enable("tiny", notifications=True)
    with Caller(lenient) as caller:
        del caller.headers["X-Sectra-ApiVersion"]
        yield caller


def styled(**style: Any) -> dict[str, Any]:
    item = {"style": style, "arcs": [ARC]}
    return {"data": {"context": None, "result": {"type": "primitive", "content": item}}}


@pytest.mark.parametrize("version", [None, "1.5", "1.6", "1.12", "banana"])
def test_calls_may_state_any_or_no_version(plain: Caller, version: str | None) -> None:
    headers = {} if version is None else {"X-Sectra-ApiVersion": version}
    assert plain.get("/info", headers=headers).status_code == 200
    account: dict[str, Any] = {"data": {"grant_type": "client_credentials"}, "auth": ("slidehook", "slidehook")}
    assert plain.post("/token?applicationId=tiny", headers=headers, **account).json()["tokenType"] == "Bearer"


def test_a_token_is_required_nevertheless(plain: Caller) -> None:
    del plain.headers["Authorization"]
    assert plain.get("/info").status_code == 401


def test_a_path_may_have_a_trailing_slash(plain: Caller) -> None:
    stored = plain.post(f"{RESULTS}/", json=result())
    assert stored.status_code == 201
    assert plain.put(f"{RESULTS}/1/", json=stored.json()).status_code == 200
    assert plain.get(f"{RESULTS}/slide/immuno/").json()[0]["id"] == 1


@pytest.mark.parametrize("flag", ["true", "True", "TRUE"])
def test_include_phi_is_case_insensitive(plain: Caller, flag: str) -> None:
    assert plain.get(f"/slides/immuno/info?includePHI={flag}").json()["accessionNumber"] == "SAMPLE-0001"
    assert "accessionNumber" not in plain.get("/slides/immuno/info?includePHI=False").json()


@pytest.mark.parametrize("name", ["0_0.jpg", "0_0.jpeg", "0_0_0.jpeg", "0_0_0.jpg"])
def test_tiles_have_several_names(plain: Caller, name: str) -> None:
    assert plain.get(f"/images/immuno_files/0/{name}").headers["Content-Type"] == "image/jpeg"


@pytest.mark.parametrize(
    "changes",
    [
        {"attachments": None},
        {"displayResult": None},
        {"displayProperties": None},
        {"applicationVersion": None},
        styled(strokeStyle="#0078D4FF", fillStyle="#0078D480", size=2),
        styled(strokeStyle=None, fillStyle=None, size=None),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_result_may_have_null_or_nothing(
    plain: Caller, lenient: Simulator, changes: dict[str, Any], method: str
) -> None:
    whole = result() | changes
    lacking = {name: value for name, value in whole.items() if value is not None}
    for body in (whole, lacking):
        stored = plain.post(RESULTS, json=body)
        assert stored.status_code == 201, stored.text
        mine = stored.json()
        assert body.items() <= mine.items()
        changed = plain.request(method, f"{RESULTS}/{mine['id']}", json=mine)
        assert changed.status_code == 200
        assert changed.json()["versionId"] != mine["versionId"]
    assert [each["id"] for each in lenient.results("tiny")] == [1, 2]
    assert requests.get(lenient.url, timeout=60).status_code == 200


@pytest.mark.parametrize(
    "wrong", [{"slideId": "none"}, {"data": {}}, styled(strokeStyle="red"), {"displayProperties": {"a": [1]}}]
)
def test_requests_that_no_program_sends_stay_refused(plain: Caller, wrong: dict[str, Any]) -> None:
    assert plain.post(RESULTS, json=result() | wrong).status_code == 400


def test_a_stale_version_is_a_conflict_as_before(plain: Caller) -> None:
    stored = plain.post(RESULTS, json=result()).json()
    assert plain.put(f"{RESULTS}/1", json=stored | {"versionId": "other"}).status_code == 409
    assert plain.put(f"{RESULTS}/1", json=result()).status_code == 400


def test_results_can_be_stored_by_hooks(plain: Caller) -> None:
    body = result(resultVersion="1")
    stored = plain.post(HOOKS, json=body)
    assert (stored.status_code, stored.json()["resultVersion"]) == (201, "1")
    changed = plain.put(f"{HOOKS}/1", json=body | {"resultVersion": "2"})
    assert (changed.status_code, changed.json()["resultVersion"]) == (200, "2")
    assert changed.json()["versionId"] != stored.json()["versionId"]
    assert plain.get(f"{HOOKS}/1").json() == changed.json() == plain.get(f"{RESULTS}/1").json()


def test_an_app_may_omit_its_versions(sample_slides: Path, app: TinyApp) -> None:
    app.headers = {}
    app._flask.view_functions["_info"] = lambda: ("no such page", 404)
    with Simulator(sample_slides) as sim:
        registered = sim.register(app.url).to_json()
        assert (registered["apiVersion"], registered["softwareVersion"]) == (None, None)
        sim.enable("tiny")
        assert sim.invoke("tiny", "immuno").ok
    with Simulator(sample_slides, Options(strict=True)) as sim, pytest.raises(BadAppAnswer):
        sim.register(app.url)


def test_a_strict_simulator_requires_info(sample_slides: Path, app: TinyApp) -> None:
    app._flask.view_functions["_info"] = lambda: ("no such page", 404)
    with Simulator(sample_slides, Options(strict=True)) as sim, pytest.raises(BadAppAnswer, match="/info"):
        sim.register(app.url)


@pytest.mark.parametrize("body", ["", "{}", "[]", '{"slideId": "", "data": {}}'])
def test_cancel_delete_and_notifications_accept_minimal_answers(
    plain: Caller, lenient: Simulator, app: TinyApp, body: str
) -> None:
    lenient.invoke("tiny", "immuno")
    plain.post(RESULTS, json=result())
    app._flask.view_functions["invoke"] = app._flask.view_functions["notify"] = lambda: body
    answers = [lenient.invoke("tiny", "immuno", "cancel"), lenient.invoke("tiny", "immuno", "delete")]
    assert all(each.ok for each in [*answers, *lenient.notify("immuno")])
    assert lenient.results("tiny") == []


def test_an_answer_to_create_must_be_json_as_before(plain: Caller, lenient: Simulator, app: TinyApp) -> None:
    app._flask.view_functions["invoke"] = lambda: ""
    assert lenient.invoke("tiny", "immuno").fault == "The app's answer is not JSON."


def test_an_apps_registration_can_be_read(plain: Caller) -> None:
    expected = {
        "applicationId": "tiny",
        "displayName": "Tiny",
        "manufacturer": "slidehook",
        "context": {"mode": "fast"},
    }
    assert plain.get("/applications/tiny").json() == expected
    assert plain.get("/applications/other").status_code == 404


def test_an_external_launch_application_gets_the_case(plain: Caller, lenient: Simulator) -> None:
    del plain.headers["Authorization"]
    launch = "/launchdata?requestId=SAMPLE-0001&sessionToken=s"
    data = plain.get(f"{launch}&appId=viewer").json()
    slide_id = data["blocks"][0]["slides"][0]["id"]
    assert {slide["id"] for block in data["blocks"] for slide in block["slides"]} == {"immuno", "immuno-dicom"}
    token = {"Authorization": f"Bearer {data['callbackInfo']['token']}"}
    assert data["callbackInfo"]["url"] == lenient.callback_url
    assert plain.get(f"/slides/{slide_id}/info", headers=token).status_code == 200
    assert plain.get(launch).status_code == 400
    assert plain.get("/launchdata?requestId=SAMPLE-0001&appId=viewer").status_code == 401
    assert plain.get("/launchdata?requestId=other&sessionToken=s&appId=viewer").status_code == 404


@pytest.mark.parametrize("version", SOFTWARE_VERSIONS)
def test_every_version_up_to_1_11_can_be_simulated(sample_slides: Path, version: str) -> None:
    with Simulator(sample_slides, Options(api_version=version)) as sim, Caller(sim) as api:
        assert api.get("/info").json()["apiVersion"] == version
    assert "1.11" in SOFTWARE_VERSIONS


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", f"{RESULTS}/", 404),
        ("POST", HOOKS, 404),
        ("GET", "/slides/immuno/info?includePHI=True", 200),
    ],
)
def test_a_strict_simulator_rejects_such_paths(
    api: Caller, tiny: TinyApp, method: str, path: str, status: int
) -> None:
    answer = api.request(method, path, json=result() if method == "POST" else None)
    assert answer.status_code == status
    assert "accessionNumber" not in answer.json()


@pytest.mark.parametrize(("options", "status"), [((), 200), (("--strict",), 400)])
def test_the_command_is_lenient_unless_told_otherwise(
    sample_slides: Path, options: tuple[str, ...], status: int
) -> None:
    command = [
        str(Path(sys.executable).with_name("slidehook")),
        "simulator",
        "--slides",
        str(sample_slides),
        "--api-version",
        "1.11",
        *options,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        callback = requests.get(f"{url}/sim/healthz", timeout=60).json()["callbackUrl"]
        # Without a token, the 401 shows that the missing version is accepted.
        answer = requests.get(f"{callback}/info", timeout=60)
        process.terminate()
    assert answer.status_code == (401 if status == 200 else status)
    assert answer.headers["X-Sectra-ApiVersion"] == "1.11"
