from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from slidehook.simulator.errors import Malformed
from slidehook.simulator.invoking import edited_gallery, pressed_button
from slidehook.simulator.server import Simulator
from tests.simulator.tiny_app import TinyApp, result

GALLERY = result(
    data={
        "context": {},
        "result": {
            "type": "patchCollection",
            "content": {
                "patches": [
                    {"tag": 0, "position": {"x": 0.1, "y": 0.1}},
                    {"tag": 1, "position": {"x": 0.2, "y": 0.1}},
                ],
                "tags": ["positive", "negative"],
                "actions": [{"id": "recount", "state": 0, "name": "Recount", "tooltip": ""}],
            },
        },
    }
)


@pytest.fixture
def tiny(sim: Simulator) -> Iterator[TinyApp]:
    with TinyApp() as app:
        sim.register(app.url)
        sim.enable("tiny")
        yield app


def test_a_user_moves_patches_and_presses_buttons() -> None:
    before = copy.deepcopy(GALLERY)
    left = edited_gallery(GALLERY, {0: "negative"}, ["recount"])
    content = left["data"]["result"]["content"]
    assert [each["tag"] for each in content["patches"]] == [1, 1]
    assert pressed_button(left) == "recount"
    assert before == GALLERY
    assert pressed_button(GALLERY) is None


@pytest.mark.parametrize("stored", [GALLERY, result(), {}])
def test_a_user_without_edits_leaves_a_result_unchanged(stored: dict[str, Any]) -> None:
    assert edited_gallery(stored, {}, []) == stored
    assert pressed_button(stored) is None


@pytest.mark.parametrize("moved", [{2: "negative"}, {-1: "negative"}, {0: "other"}])
def test_a_missing_patch_can_not_be_moved(moved: dict[int, str]) -> None:
    with pytest.raises(Malformed, match="no patch"):
        edited_gallery(GALLERY, moved, [])


@pytest.mark.parametrize("stored", [GALLERY, result()])
def test_a_missing_button_can_not_be_pressed(stored: dict[str, Any]) -> None:
    with pytest.raises(Malformed, match="no button 'other'"):
        edited_gallery(stored, {}, ["other"])


def test_an_app_gets_the_gallery_as_the_user_left_it(sim: Simulator, tiny: TinyApp) -> None:
    stored = sim.result_store.create("tiny", GALLERY)
    sim.invoke("tiny", "immuno", "modify", moved={1: "positive"}, pressed=["recount"])
    assert tiny.received[-1][1]["input"] == edited_gallery(stored, {1: "positive"}, ["recount"])


def test_a_button_that_the_app_does_not_release_is_a_fault(sim: Simulator, tiny: TinyApp) -> None:
    stored = sim.result_store.create("tiny", GALLERY)
    tiny.answer = (200, edited_gallery(stored, {}, ["recount"]))
    answer = sim.invoke("tiny", "immuno", "modify", pressed=["recount"])
    assert answer.fault == "The app's answer leaves the button 'recount' pressed."
    tiny.answer = (200, stored)
    assert sim.invoke("tiny", "immuno", "modify", pressed=["recount"]).ok


def test_patches_and_buttons_can_be_changed_over_http(sim: Simulator, tiny: TinyApp) -> None:
    sim.result_store.create("tiny", GALLERY)
    wanted = {"applicationId": "tiny", "slideId": "immuno", "action": "modify", "moved": {"0": "negative"}}
    answer = requests.post(f"{sim.url}/sim/invocations", json={**wanted, "pressed": ["recount"]}, timeout=60)
    assert answer.status_code == 200
    content = tiny.received[-1][1]["input"]["data"]["result"]["content"]
    assert ([each["tag"] for each in content["patches"]], content["actions"][0]["state"]) == ([1, 1], 1)
