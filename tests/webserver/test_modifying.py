"""A user's change of a result, and the app's answer."""

from __future__ import annotations

import contextlib
import copy
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slidehook import App, AppError, Gallery, PixelPoint, Progress, Quality, Result, Slide
from slidehook.registry.fingerprint import fingerprint
from slidehook.registry.registry import Registry
from slidehook.settings import Settings
from tests.author.test_whole_numbers import floats
from tests.iaapi.little_dpat import Call, LittleDpat, Reply
from tests.webserver.site import Site
from webserver import modify_answer as modifying
from webserver.application import create_app

pytestmark = pytest.mark.usefixtures("changes_may_take_long")

RESULT: dict[str, Any] = {
    "id": 1,
    "versionId": "v4",
    "slideId": "S-1",
    "displayResult": "50 % positive",
    "displayProperties": {"Positive (%)": 50},
    "applicationVersion": "0.9",
    "attachments": [{"name": "a.csv", "state": "stored"}],
    "data": {
        "context": {"mode": "fast"},
        "result": {
            "type": "patchCollection",
            "content": {
                "description": "Nuclei",
                "polygons": [],
                "patches": [
                    {"tag": 0, "position": {"x": 0.1, "y": 0.2}, "sortKeyValue": 1},
                    {"tag": 1, "position": {"x": 0.3, "y": 0.2}, "sortKeyValue": 2},
                ],
                "tags": ["positive", "negative"],
                "patchSize": 64,
                "magnification": 20,
                "statuses": {"allowVerify": {"value": True, "message": "allowed."}, "newer": {"value": 3}},
                "actions": [{"id": "recount", "state": 0, "name": "Recount", "tooltip": ""}],
            },
        },
    },
}


MARK = os.environ.setdefault("RECOUNT_MARK", f"recount-{os.getpid()}")
"""Marks the processes started by an app that hangs; children inherit it."""


ACCOUNT: dict[str, Any] = {"dpat_user": "image-analysis", "dpat_password": "secret"}


class Recount(App):
    """On a change it does what the result's text demands, by default it counts."""

    id = "recount"
    name = "Recount"
    version = "2.0"
    max_polygons = 2

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        raise NotImplementedError

    def on_modify(self, result: Result) -> Result:
        act = getattr(self, f"do_{result.text}", None)
        return self.count(result) if act is None else act(result)

    def count(self, result: Result) -> Result:
        assert result.gallery is not None
        counts = result.gallery.counts()
        percent = 100 * counts["positive"] // sum(counts.values())
        result.text = f"{percent} % positive"
        result.properties |= {"Positive (%)": percent, "Pressed": ", ".join(result.pressed)}
        result.properties["First x (px)"] = result.gallery.patches[0].at.x
        return result

    def do_refuse(self, result: Result) -> Result:
        raise AppError("no nuclei are left")

    def do_fail(self, result: Result) -> Result:
        raise KeyError("nuclei")

    def do_leave(self, result: Result) -> Result:
        raise SystemExit(3)

    def do_nothing(self, result: Result) -> Result:
        return None  # type: ignore[return-value]

    def do_mumble(self, result: Result) -> Result:
        class Unspeakable(AppError):
            def __str__(self) -> str:
                raise LookupError("no words")

        raise Unspeakable

    def do_hang(self, result: Result) -> Result:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", MARK])
        time.sleep(600)
        return Result("too late")

    def do_crash(self, result: Result) -> Result:
        os._exit(3)

    def do_remember(self, result: Result) -> Result:
        self.remembered = getattr(self, "remembered", 0) + 1
        return Result(f"{self.remembered}, {self.settings.dpat_password}, {os.getpid()}")

    def do_nan(self, result: Result) -> Result:
        return Result("x", {"n": float("nan")})

    def do_spoil(self, result: Result) -> Result:
        """Fail halfway."""
        assert result.gallery is not None
        result.gallery.patches.clear()
        result.properties.clear()
        raise ValueError("halfway")

    def do_reject(self, result: Result) -> Result:
        return Result("rejected", quality=Quality.REJECTED)

    def do_many(self, result: Result) -> Result:
        many = Result("many")
        for side in (10, 20, 30):
            many.polygon([PixelPoint(0, 0), PixelPoint(side, 0), PixelPoint(side, side)])
        return many

    def do_anew(self, result: Result) -> Result:
        return Result("anew", gallery=Gallery(["x"]).add("x", PixelPoint(200, 100)))


@pytest.fixture
def site(dpat: LittleDpat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("webserver.application.set_up_logging", lambda: None)
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr("webserver.application.atexit", SimpleNamespace(register=at_exit.append))
    settings = Settings(_env_file=None, queue_dir=tmp_path / "queue", data_dir=tmp_path / "data", **ACCOUNT)
    app = Recount()
    app.settings = settings
    site = Site(create_app(settings, Registry([app])), tmp_path / "queue", dpat)
    dpat.results[1] = copy.deepcopy(RESULT)
    yield site
    for close in [*at_exit, site.queue.close]:
        close()


def modify(site: Site, *, text: str = "50 % positive", **changes: Any) -> Any:
    """Send the result as edited by a user: the second patch moved to the positive ones, the button pressed."""
    body = copy.deepcopy(RESULT) | {"displayResult": text} | changes
    content = body["data"]["result"]["content"]
    content["patches"][1]["tag"] = 0
    content["actions"][0]["state"] = 1
    return site.post("/apps/recount", applicationId="recount", action="modify", input=body)


def content(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = site.dpat.results[1]["data"]["result"]["content"]
    return found


def test_the_apps_answer_is_stored_and_returned_as_stored(site: Site) -> None:
    answer = modify(site)
    stored = site.dpat.results[1]
    assert (answer.status_code, answer.json) == (200, stored)
    assert (stored["displayResult"], stored["versionId"]) == ("100 % positive", "v5")
    assert stored["applicationVersion"] == "2.0"
    assert stored["displayProperties"] == {"Positive (%)": 100, "Pressed": "recount", "First x (px)": 200}
    assert [each["tag"] for each in content(site)["patches"]] == [0, 0]
    assert [each["state"] for each in content(site)["actions"]] == [0]


def test_a_change_by_other_code_than_the_analysis_is_marked(site: Site) -> None:
    def row(before: str) -> Any:
        answer = modify(site, displayProperties={"Positive (%)": 50, "App fingerprint": before})
        site.dpat.results[1] = copy.deepcopy(RESULT)
        return answer.json["displayProperties"]["App fingerprint"]

    app = Recount()
    app.settings = Settings(_env_file=None)
    now = fingerprint(app)
    assert row(now) == now
    assert row(f"{now} on bbbbbbbbbbbb") == f"{now} on bbbbbbbbbbbb"
    assert row("aaaaaaaaaaaa") == f"aaaaaaaaaaaa, changed by {now}"
    assert row("aaaaaaaaaaaa, changed by bbbbbbbbbbbb") == f"aaaaaaaaaaaa, changed by {now}"


def test_fields_unknown_to_the_app_are_stored_unchanged(site: Site) -> None:
    modify(site)
    stored = site.dpat.results[1]
    assert (stored["attachments"], stored["data"]["context"]) == (RESULT["attachments"], RESULT["data"]["context"])
    before = RESULT["data"]["result"]["content"]
    assert content(site)["statuses"] == before["statuses"]
    assert [each["position"] for each in content(site)["patches"]] == [each["position"] for each in before["patches"]]


def test_whole_numbers_are_sent_without_a_decimal_point(site: Site) -> None:
    body = copy.deepcopy(RESULT)
    body["id"] = 1.0
    shown = body["data"]["result"]["content"]
    shown |= {"patchSize": 64.0, "magnification": 20.0}
    shown["patches"][0]["tag"] = float(shown["patches"][0]["tag"])
    shown["actions"][0]["state"] = 1.0
    site.dpat.results[1] = copy.deepcopy(body)
    answer = site.post("/apps/recount", applicationId="recount", action="modify", input=body)
    assert answer.status_code == 200, answer.json
    (update,) = site.dpat.made("PATCH")
    assert not list(floats(update.json)), update.json


def test_a_change_needs_three_calls(site: Site) -> None:
    modify(site)
    assert [(call.method, call.path) for call in site.dpat.calls] == [
        ("GET", "/applications/recount/results/1"),
        ("GET", "/slides/S-1/info"),
        ("PATCH", "/applications/recount/results/1"),
    ]


def test_an_app_may_answer_with_something_new(site: Site) -> None:
    assert modify(site, text="anew").status_code == 200
    assert content(site)["tags"] == ["x"]
    assert content(site)["patches"] == [{"tag": 0, "position": {"x": 0.1, "y": 0.05}, "sortKeyValue": 0}]


def test_an_answer_with_too_many_shapes_is_reduced_as_an_analysis_is(site: Site) -> None:
    assert modify(site, text="many").json["displayProperties"] == {"Shapes shown": "2 of 3 (largest)"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("refuse", "no nuclei are left"),
        ("fail", "the app has a fault: KeyError: 'nuclei'"),
        ("leave", "the app has a fault: SystemExit: 3"),
        ("nothing", "the app has a fault: on_modify returned NoneType, not a Result"),
        ("nan", "the app's result can't be sent to DPAT: properties.n is nan, which is no number"),
        ("mumble", "it can't say what it is"),
        ("spoil", "the app has a fault: ValueError: halfway"),
        ("crash", "the app ended its process instead of answering the change"),
    ],
)
def test_a_fault_of_the_app_keeps_the_users_change_and_no_old_number(site: Site, text: str, reason: str) -> None:
    answer = modify(site, text=text)
    assert (answer.status_code, answer.json) == (200, site.dpat.results[1])
    stored = site.dpat.results[1]
    assert stored["displayResult"] == f"update failed: {reason}"
    assert stored["displayProperties"] == {
        "Status": f"update failed: {reason}",
        "Positive (%) (before the change)": 50,
    }
    assert [each["tag"] for each in content(site)["patches"]] == [0, 0]
    assert [each["state"] for each in content(site)["actions"]] == [0]


def test_an_app_that_hangs_is_killed_in_time_without_leftovers(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modifying, "MODIFY_S", 1.0)
    for each in multiprocessing.active_children():  # the idle ones
        each.kill()
        each.join(120)
    before = left()
    assert modify(site, text="hang").status_code == 200
    reason = "update failed: the app took longer than 1 s to answer the change"
    assert site.dpat.results[1]["displayResult"] == reason
    assert left() == before
    for _ in range(200):
        if not started_by_the_app():
            break
        time.sleep(0.05)
    assert started_by_the_app() == []


def left() -> set[object]:
    """Return all threads and child processes, except the threads that serve DPAT's answers."""
    threads = [each for each in threading.enumerate() if "process_request" not in each.name]
    return {*threads, *multiprocessing.active_children()}


def started_by_the_app() -> list[str]:
    """Return the command lines of the processes started by an app that hangs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_text())
    return [each for each in found if MARK in each]


def test_an_apps_process_does_not_get_the_account_and_is_reused(site: Site) -> None:
    answers = [modify(site, text="remember", versionId=f"v{number}").json for number in (4, 5)]
    first, again = [answer["displayResult"].split(", ") for answer in answers]
    assert first[:2] == again[:2] == ["1", "None"]
    assert first[2] == again[2] != str(os.getpid())


def test_a_change_after_a_failed_one_is_answered_normally(site: Site) -> None:
    failed = modify(site, text="fail").json
    properties = failed["displayProperties"]
    assert modify(site, versionId="v5", text="x", displayProperties=properties).status_code == 200
    assert site.dpat.results[1]["displayProperties"] == {
        "Positive (%)": 100, "Pressed": "recount", "First x (px)": 200
    }  # fmt: skip


def test_without_the_slides_size_the_change_fails_visibly(site: Site) -> None:
    del site.dpat.record["imageSize"]
    assert modify(site).status_code == 200
    assert site.dpat.results[1]["displayResult"] == "update failed: DPAT does not state the slide's size"


def test_progress_and_failures_are_not_passed_to_the_app(site: Site) -> None:
    data = {"context": {}, "result": {"type": "primitive", "content": []}}
    body = RESULT | {"displayResult": "fail", "displayProperties": {"Status": "cancelled"}, "data": data}
    site.dpat.results[1] = copy.deepcopy(body)
    answer = site.post("/apps/recount", applicationId="recount", action="modify", input=body)
    assert answer.json is not None
    assert answer.json["displayResult"] == "fail"
    assert [call.method for call in site.dpat.calls] == ["GET", "PATCH"]


def move(site: Site, number: int, tag: int, version: str = "v4") -> Any:
    """Move one patch, as a user who sees that version."""
    body = copy.deepcopy(RESULT) | {"versionId": version}
    body["data"]["result"]["content"]["patches"][number]["tag"] = tag
    return site.post("/apps/recount", applicationId="recount", action="modify", input=body)


def tags(site: Site) -> list[int]:
    return [each["tag"] for each in content(site)["patches"]]


def test_two_users_who_change_one_gallery_do_not_undo_each_other(site: Site) -> None:
    first = move(site, 0, 1)
    assert (first.status_code, first.json["displayResult"]) == (200, "0 % positive")
    second = move(site, 1, 0)
    assert second.status_code == 200
    assert tags(site) == [1, 0]
    assert second.json == site.dpat.results[1]
    assert (second.json["displayResult"], second.json["versionId"]) == ("50 % positive", "v6")


def test_concurrent_changes_are_merged_and_recounted(site: Site) -> None:
    def faster(call: Call) -> Reply:
        content(site)["patches"][0]["tag"] = 1
        site.dpat.results[1] |= {"versionId": "v5", "displayResult": "0 % positive"}
        return Reply(409)

    site.dpat.answer("PATCH", "/applications/recount/results/1", faster, site.dpat.usual)
    assert move(site, 1, 0).json["displayResult"] == "50 % positive"
    assert tags(site) == [1, 0]


def test_a_change_of_an_unknown_version_is_refused_and_undoes_nothing(site: Site) -> None:
    site.dpat.results[1]["versionId"] = "v8"
    before = copy.deepcopy(site.dpat.results[1])
    answer = modify(site)
    assert answer.status_code == 502
    assert "changed by somebody else; reload it" in answer.text
    assert site.dpat.results[1] == before


def test_a_change_during_a_new_analysis_is_refused(site: Site) -> None:
    assert move(site, 0, 1).status_code == 200
    progress = {"Status": "analysis queued", "Progress (%)": 0}
    queued = {"context": {}, "result": {"type": "primitive", "content": []}}
    site.dpat.results[1] |= {"displayProperties": progress, "data": queued}
    assert move(site, 1, 0).status_code == 502
    assert site.dpat.results[1]["data"] == queued


def test_unknown_fields_of_a_stored_result_survive_even_if_not_sent(site: Site) -> None:
    stored = site.dpat.results[1]
    stored["newer"] = {"a": None}
    stored["data"]["newer"] = 1
    content(site)["newer"] = [1]
    content(site)["patches"][0]["newer"] = "x"
    stored["attachments"] = [{"name": "b.csv", "state": "stored", "newer": 2}]
    assert modify(site, attachments=None).status_code == 200
    now = site.dpat.made("PATCH")[-1].json
    assert (now["newer"], now["data"]["newer"]) == ({"a": None}, 1)
    assert now["attachments"] == [{"name": "b.csv", "state": "stored", "newer": 2}]
    shown = now["data"]["result"]["content"]
    assert (shown["newer"], shown["patches"][0]["newer"]) == ([1], "x")


def test_an_invalid_change_is_refused(site: Site) -> None:
    body = copy.deepcopy(RESULT)
    body["data"]["result"]["content"]["patches"][0]["tag"] = 7
    answer = site.post("/apps/recount", applicationId="recount", action="modify", input=body)
    assert answer.status_code == 400
    assert "Patch 0 has the tag 7" in answer.text
    assert site.dpat.results[1] == RESULT


def test_a_change_while_dpat_is_unavailable_is_an_error(site: Site) -> None:
    site.dpat.answer("GET", "/slides/S-1/info", Reply(503))
    assert modify(site).status_code == 502
    assert site.dpat.results[1] == RESULT


# --- quality control


def test_an_app_may_set_the_slides_quality(site: Site) -> None:
    site.dpat.record["qualityControl"] = {"status": "NotSet", "versionId": "q1"}
    site.dpat.answer("PUT", "/slides/S-1/qualityControl", Reply(body={}))
    assert modify(site, text="reject").status_code == 200
    put = site.dpat.calls[-1]
    assert put.path == "/slides/S-1/qualityControl"
    assert put.json == {"applicationVersion": "2.0", "qualityControl": {"status": "Rejected", "versionId": "q1"}}
    assert len(site.dpat.calls) == 4


@pytest.mark.parametrize("known", [None, {"status": "NotSet"}])
def test_without_quality_control_in_dpat_the_result_is_stored_nevertheless(site: Site, known: Any) -> None:
    site.dpat.record["qualityControl"] = known
    assert modify(site, text="reject").json["displayResult"] == "rejected"
    assert not site.dpat.made("PUT")


def test_an_older_dpat_is_not_asked_to_set_the_quality(site: Site) -> None:
    site.dpat.version = "1.9"
    site.dpat.record["qualityControl"] = {"status": "NotSet", "versionId": "q1"}
    assert modify(site, text="reject").json["displayResult"] == "rejected"
    assert not site.dpat.made("PUT")


def test_a_quality_that_somebody_set_meanwhile_is_kept(site: Site) -> None:
    site.dpat.record["qualityControl"] = {"status": "NotSet", "versionId": "q1"}

    def conflict(_: Call) -> Reply:
        site.dpat.record["qualityControl"] = {"status": "QualityOk", "versionId": "q2"}
        return Reply(409)

    site.dpat.answer("PUT", "/slides/S-1/qualityControl", conflict)
    assert modify(site, text="reject").status_code == 200
    assert len(site.dpat.made("PUT")) == 1


def test_a_quality_with_only_a_changed_version_is_set(site: Site) -> None:
    site.dpat.record["qualityControl"] = {"status": "NotSet", "versionId": "q1"}

    def conflict(_: Call) -> Reply:
        site.dpat.record["qualityControl"] = {"status": "NotSet", "versionId": "q2"}
        return Reply(409)

    site.dpat.answer("PUT", "/slides/S-1/qualityControl", conflict, Reply(body={}))
    modify(site, text="reject")
    assert [put.json["qualityControl"]["versionId"] for put in site.dpat.made("PUT")] == ["q1", "q2"]


@pytest.mark.parametrize("reply", [Reply(403), Reply(500), Reply(400), Reply(404)])
def test_a_quality_that_dpat_rejects_does_not_lose_the_result(site: Site, reply: Reply) -> None:
    site.dpat.record["qualityControl"] = {"status": "NotSet", "versionId": "q1"}
    site.dpat.answer("PUT", "/slides/S-1/qualityControl", reply)
    answer = modify(site, text="reject")
    assert (answer.status_code, answer.json["displayResult"]) == (200, "rejected")
