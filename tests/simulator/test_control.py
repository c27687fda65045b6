from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from slidehook.simulator.server import Simulator
from tests.simulator.tiny_app import TinyApp


class Control(requests.Session):
    """Calls the simulator's own endpoints by paths below its root."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.base = url

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **given: Any) -> requests.Response:
        given.setdefault("timeout", 10)
        return super().request(method, f"{self.base}{url!s}", *args, **given)


@pytest.fixture
def control(sim: Simulator) -> Iterator[Control]:
    with Control(sim.url) as session:
        yield session


def test_an_app_is_registered_enabled_invoked_and_removed(control: Control) -> None:
    with TinyApp() as app:
        app.answer = None
        registered = control.post("/sim/apps", json={"url": app.url})
        assert registered.status_code == 201
        assert registered.json()["enabled"] is False
        wanted = {"applicationId": "tiny", "slideId": "immuno", "action": "create"}
        assert control.post("/sim/invocations", json=wanted).status_code == 409
        changed = control.patch("/sim/apps/tiny", json={"enabled": True, "notifications": True}).json()
        assert control.get("/sim/apps").json() == [changed]
        answer = control.post("/sim/invocations", json=wanted).json()
        assert answer["status"] == 200
        assert set(answer) == {"applicationId", "status", "answer", "seconds", "cancellationToken"}
        stored = control.get("/sim/results?applicationId=tiny&slideId=immuno").json()
        assert stored[0]["id"] == answer["answer"]["id"]
        assert stored[0]["history"][0]["displayResult"] == "12 %"
        assert control.get("/sim/results?applicationId=other").json() == []
        notified = control.post("/sim/notifications", json={"slideId": "immuno", "old": True}).json()
        assert [one["status"] for one in notified] == [200]
        assert control.delete("/sim/apps/tiny").status_code == 204
        assert control.get("/sim/apps").json() == []


def test_invalid_requests_are_refused_in_one_sentence(control: Control) -> None:
    for path, body, status in (
        ("/sim/apps", {"url": "nowhere"}, 400),
        ("/sim/apps", {"url": "http://127.0.0.1:9/x"}, 502),
        ("/sim/apps", {"uri": "http://127.0.0.1:9/x"}, 400),
        ("/sim/invocations", {"applicationId": "none", "slideId": "immuno"}, 404),
        ("/sim/invocations", {"applicationId": "none", "slideId": "immuno", "action": "eat"}, 400),
        ("/sim/notifications", {"slideId": "none"}, 404),
        ("/sim/faults", {"path": "x", "kind": "fire"}, 400),
        ("/sim/faults", {"path": "x", "kind": "close", "times": 2}, 400),
    ):
        answer = control.post(path, json=body)
        assert answer.status_code == status
        assert answer.json()["message"].endswith(".")
    assert control.post("/sim/apps", data={"url": "http://127.0.0.1:9/x"}).status_code == 415


def test_faults_are_added_listed_and_cleared(control: Control, sim: Simulator) -> None:
    rule = {"path": "/files$", "method": "GET", "kind": "status", "count": 2, "headers": {"Retry-After": "1"}}
    assert control.post("/sim/faults", json=rule).status_code == 201
    listed = control.get("/sim/faults").json()
    assert {name: listed[0][name] for name in rule} == rule
    assert control.delete("/sim/faults").status_code == 204
    assert sim.faults() == []


def test_calls_are_listed_and_cleared_and_tokens_expire(control: Control, sim: Simulator) -> None:
    headers = {"X-Sectra-ApiVersion": "1.10", "Authorization": f"Bearer {sim.token()}"}
    assert requests.get(f"{sim.callback_url}/info", headers=headers, timeout=60).status_code == 200
    assert control.post("/sim/tokens/expire", json={}).json() == {"expired": 1}
    assert requests.get(f"{sim.callback_url}/info", headers=headers, timeout=60).status_code == 401
    assert [call["status"] for call in control.get("/sim/calls").json()] == [200, 401]
    assert control.delete("/sim/calls").status_code == 204
    assert control.get("/sim/calls").json() == []


def test_slides_are_listed_with_their_files(control: Control) -> None:
    listed = control.get("/sim/slides").json()
    assert [slide["id"] for slide in listed] == ["immuno", "immuno-dicom"]
    assert len(listed[1]["files"]) == 4


def test_a_file_can_be_attached_to_a_result(control: Control, sim: Simulator, tiny: TinyApp) -> None:
    tiny.answer = None
    sim.invoke("tiny", "immuno")
    assert control.put("/sim/results/1/attachments/a.bin", data=b"abc").status_code == 204
    assert control.put("/sim/results/2/attachments/a.bin", data=b"abc").status_code == 404
    assert sim.results()[0]["attachments"] == [{"name": "a.bin", "state": "stored"}]


def test_the_simulator_has_a_health_endpoint(control: Control, sim: Simulator) -> None:
    assert control.get("/sim/healthz").json()["callbackUrl"] == sim.callback_url


def test_the_page_shows_slides_apps_and_results(control: Control, sim: Simulator, tiny: TinyApp) -> None:
    tiny.answer = None
    sim.invoke("tiny", "immuno")
    page = control.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    for text in ("immuno-dicom", "6144 \u00d7 4608 px", "Tiny", "12 %", sim.callback_url):
        assert text in page.text
    thumbnail = control.get("/sim/slides/immuno/thumbnail.jpg")
    assert thumbnail.content.startswith(b"\xff\xd8")
