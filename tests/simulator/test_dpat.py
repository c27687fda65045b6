from __future__ import annotations

import threading

import pytest

from slidehook.simulator.errors import BadAppAnswer, Conflict, Malformed, NotFound
from slidehook.simulator.server import Simulator
from tests.simulator.tiny_app import TinyApp


def test_a_registered_app_is_disabled_until_enabled(sim: Simulator) -> None:
    with TinyApp() as app:
        registered = sim.register(app.url + "/")
        assert registered.to_json()["displayName"] == "Tiny"
        assert (registered.enabled, registered.notifications) == (False, False)
        with pytest.raises(Conflict):
            sim.invoke("tiny", "immuno")
        sim.enable("tiny")
        assert sim.invoke("tiny", "immuno").ok
        sim.remove("tiny")
        assert sim.apps() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("displayName", None), ("inputTemplate", {"type": "circle"}), ("url", "/tiny"), ("applicationId", 4)],
)
def test_a_wrong_registration_is_refused_with_the_reason(sim: Simulator, name: str, value: object) -> None:
    with TinyApp() as app:
        app.registration[name] = value
        with pytest.raises(BadAppAnswer):
            sim.register(app.url)
    assert sim.apps() == []


def test_an_app_must_state_its_versions(sim: Simulator) -> None:
    with TinyApp() as app:
        del app.headers["X-Sectra-SoftwareVersion"]
        with pytest.raises(BadAppAnswer, match="X-Sectra-SoftwareVersion"):
            sim.register(app.url)


def test_an_invalid_url_is_refused(sim: Simulator) -> None:
    for url in ("", "tiny", "ftp://host/tiny", "http://"):
        with pytest.raises(Malformed):
            sim.register(url)


def test_an_unreachable_app_is_reported(sim: Simulator) -> None:
    with TinyApp() as app:
        url = app.url
    with pytest.raises(BadAppAnswer, match="no answer"):
        sim.register(url)


def test_an_invocation_contains_all_that_the_app_needs(sim: Simulator, tiny: TinyApp) -> None:
    answer = sim.invoke("tiny", "immuno")
    path, body = tiny.received[0]
    assert path == "/tiny"
    assert body == {
        "action": "create",
        "applicationId": "tiny",
        "slideId": "immuno",
        "callbackInfo": {"url": sim.callback_url, "token": body["callbackInfo"]["token"]},
        "context": {"mode": "fast"},
        "cancellationToken": answer.cancellation_token,
        "input": {"type": "wholeSlide"},
    }


def test_a_stored_result_is_a_valid_answer(sim: Simulator, tiny: TinyApp) -> None:
    tiny.answer = None
    answer = sim.invoke("tiny", "immuno")
    assert answer.ok
    assert answer.answer["id"] == sim.results()[0]["id"]


@pytest.mark.parametrize("content", [{"id": 1}, {"id": 1, "versionId": "x"}, {"a": 1}, [1], None, "done"])
def test_an_answer_that_was_never_stored_is_a_fault(sim: Simulator, tiny: TinyApp, content: object) -> None:
    tiny.answer = (200, content)
    assert sim.invoke("tiny", "immuno").fault is not None


@pytest.mark.parametrize("content", [{}, []])
def test_an_empty_answer_is_valid(sim: Simulator, tiny: TinyApp, content: object) -> None:
    tiny.answer = (200, content)
    assert sim.invoke("tiny", "immuno").ok


def test_an_app_that_fails_is_reported(sim: Simulator, tiny: TinyApp) -> None:
    tiny.answer = (500, {})
    answer = sim.invoke("tiny", "immuno")
    assert (answer.status, answer.ok) == (500, False)


def test_a_stopped_app_is_reported(sim: Simulator) -> None:
    with TinyApp() as app:
        sim.register(app.url)
        sim.enable("tiny")
    answer = sim.invoke("tiny", "immuno")
    assert answer.status is None
    assert "reached" in str(answer.fault)


def test_modify_sends_the_newest_result(sim: Simulator, tiny: TinyApp) -> None:
    with pytest.raises(NotFound):
        sim.invoke("tiny", "immuno", "modify")
    tiny.answer = None
    sim.invoke("tiny", "immuno")
    stored = sim.invoke("tiny", "immuno").answer
    tiny.answer = (200, {})
    sim.invoke("tiny", "immuno", "modify")
    assert tiny.received[-1][1]["input"] == stored


def test_a_result_is_deleted_only_if_the_app_answers_200(sim: Simulator, tiny: TinyApp) -> None:
    tiny.answer = None
    stored = sim.invoke("tiny", "immuno").answer
    tiny.answer = (500, {})
    sim.invoke("tiny", "immuno", "delete", input=stored)
    assert len(sim.results()) == 1
    tiny.answer = (200, {})
    sim.invoke("tiny", "immuno", "delete", input=stored)
    assert sim.results() == []
    with pytest.raises(NotFound):
        sim.invoke("tiny", "immuno", "modify", input=stored)


def test_cancel_names_the_latest_invocation(sim: Simulator, tiny: TinyApp) -> None:
    with pytest.raises(NotFound):
        sim.invoke("tiny", "immuno", "cancel")
    token = sim.invoke("tiny", "immuno").cancellation_token
    sim.invoke("tiny", "immuno", "cancel")
    body = tiny.received[-1][1]
    assert (body["action"], body["cancellationToken"]) == ("cancel", token)
    assert "input" not in body


def test_notifications_go_to_enabled_apps_that_want_them(sim: Simulator, tiny: TinyApp) -> None:
    assert sim.notify("immuno") == []
    sim.enable("tiny", notifications=True)
    assert [answer.ok for answer in sim.notify("immuno")] == [True]
    path, body = tiny.received[-1]
    assert path == "/tiny/imagenotification"
    assert body["imageInfo"]["id"] == "immuno"
    assert "accessionNumber" not in body["imageInfo"]
    assert (body["action"], body["input"]) == ("newImageFiles", {"type": "wholeSlide"})


def test_older_servers_notify_without_action_and_input(sim: Simulator, tiny: TinyApp) -> None:
    sim.enable("tiny", notifications=True)
    sim.notify("immuno", old=True, include_phi=True)
    body = tiny.received[-1][1]
    assert "action" not in body
    assert "input" not in body
    assert body["imageInfo"]["accessionNumber"] == "SAMPLE-0001"


def test_wait_until_sees_the_effect_of_a_call(sim: Simulator, tiny: TinyApp) -> None:
    tiny.answer = None
    assert not sim.wait_until(lambda: bool(sim.results()), timeout_s=0.01)
    user = threading.Thread(target=sim.invoke, args=("tiny", "immuno"))
    user.start()
    assert sim.wait_until(lambda: bool(sim.results()), timeout_s=60)
    user.join()
