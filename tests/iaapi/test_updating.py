"""Results are replaced by PATCH only if that has the effect of PUT."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from slidehook.dpat.errors import Conflict, DpatRefused, DpatUnavailable, NotFound, TokenExpired
from slidehook.dpat.iaapi.client import DpatClient, DpatServer, DpatServers
from slidehook.dpat.iaapi.models import ResultRecord, Stored
from slidehook.dpat.iaapi.updating import is_as_sent
from slidehook.settings import Settings
from tests.iaapi.little_dpat import Answerer, Call, LittleDpat, Reply

ONE = "/applications/app/results/1"
LEFT = {"Status": "analysis started"}
REFUSALS = [302, 400, 403, 404, 405, 408, 415, 422, 429, 500, 501, 502, 503]


@pytest.fixture(autouse=True)
def stored(dpat: LittleDpat, client: DpatClient, record: ResultRecord) -> None:
    """A result in progress."""
    client.create_result("app", record.model_copy(update={"display_properties": LEFT}))
    dpat.calls.clear()


def update(client: DpatClient, record: ResultRecord, version: str = "v1") -> dict[str, Any]:
    return client.update_result("app", record, Stored(id=1, version_id=version)).answer


def methods(dpat: LittleDpat) -> list[str]:
    return [call.method for call in dpat.calls]


def merging(dpat: LittleDpat) -> Answerer:
    def merge(call: Call) -> Reply:
        reply = dpat.usual(call)
        if reply.status == 200:
            dpat.results[1]["displayProperties"] = LEFT | call.json["displayProperties"]
        return reply

    return merge


def test_a_server_that_replaces_by_patch_gets_only_patch(
    dpat: LittleDpat, client: DpatClient, record: ResultRecord
) -> None:
    update(client, record, "v1")
    update(client, record, "v2")
    assert methods(dpat) == ["PATCH", "PATCH"]
    assert dpat.results[1]["displayProperties"] == {}


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refused_patch_is_sent_by_put_and_the_server_is_remembered(
    dpat: LittleDpat, client: DpatClient, record: ResultRecord, status: int
) -> None:
    dpat.answer("PATCH", ONE, Reply(status))
    update(client, record, "v1")
    update(client, record, "v2")
    sent = [call for call in dpat.calls if call.method != "GET"]
    assert [call.method for call in sent] == ["PATCH", "PUT", "PUT"]
    assert sent[0].body == sent[1].body
    assert len(dpat.calls) == (4 if status == 403 else 3), "a refused token is looked into, once"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(204),
        Reply(200, b""),
        Reply(200, {}),
        Reply(200, []),
        Reply(200, b"[" * 100_000),
        Reply(200, b"<html>", {"Content-Type": "text/html"}),
    ],
)
def test_a_patch_answered_without_a_stored_result_is_sent_by_put(
    dpat: LittleDpat, client: DpatClient, record: ResultRecord, reply: Reply
) -> None:
    dpat.answer("PATCH", ONE, reply)
    assert update(client, record)["versionId"] == "v2"
    assert methods(dpat) == ["PATCH", "PUT"]


def test_a_patch_executed_but_answered_with_an_error_ends_in_one_update(
    dpat: LittleDpat, client: DpatClient, record: ResultRecord
) -> None:
    def odd(call: Call) -> Reply:
        dpat.usual(call)
        return Reply(500)

    dpat.answer("PATCH", ONE, odd)
    assert update(client, record)["versionId"] == "v3"
    assert methods(dpat) == ["PATCH", "PUT", "GET", "PUT"]


def test_a_merging_server_gets_put_and_keeps_no_rows_of_the_earlier_table(
    dpat: LittleDpat, client: DpatClient, record: ResultRecord
) -> None:
    dpat.answer("PATCH", ONE, merging(dpat))
    final = record.model_copy(update={"display_properties": {"Area (mm²)": 3.5}})
    version = update(client, final)["versionId"]
    assert dpat.results[1]["displayProperties"] == {"Area (mm²)": 3.5}
    update(client, final, version)
    assert methods(dpat) == ["PATCH", "PUT", "PUT"]


def test_a_merging_server_whose_put_is_lost_is_not_sent_another_patch(
    dpat: LittleDpat, server: DpatServer, record: ResultRecord
) -> None:
    dpat.answer("PATCH", ONE, merging(dpat))
    dpat.answer("PUT", ONE, Reply(503), dpat.usual)
    update(server.client("t", tries=2, sleep=lambda _: None), record)
    assert methods(dpat) == ["PATCH", "PUT", "PUT", "GET", "PUT"]
    assert dpat.results[1]["displayProperties"] == {}


def test_a_merging_server_without_put_never_mixes_two_jobs_tables(
    dpat: LittleDpat, client: DpatClient, record: ResultRecord
) -> None:
    dpat.answer("PATCH", ONE, merging(dpat))
    dpat.answer("PUT", ONE, Reply(405))
    with pytest.raises(DpatRefused, match="merges a PATCH into"):
        update(client, record)


@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_a_server_without_put_that_rewrites_fields_is_updated(
    dpat: LittleDpat, client: DpatClient, record: ResultRecord, status: int
) -> None:
    def as_text(call: Call) -> Reply:
        reply = dpat.usual(call)
        dpat.results[1]["displayProperties"] = {
            name: str(each) for name, each in call.json["displayProperties"].items()
        }
        return reply

    dpat.answer("PATCH", ONE, as_text)
    dpat.answer("PUT", ONE, Reply(status))
    table = record.model_copy(update={"display_properties": {"Cells": 3}})
    assert update(client, table)["displayProperties"] == {"Cells": "3"}
    assert update(client, table, "v2")["versionId"] == "v3"


def test_a_failing_patch_server_is_retried(dpat: LittleDpat, server: DpatServer, record: ResultRecord) -> None:
    dpat.answer("PATCH", ONE, Reply(503), dpat.usual)
    dpat.answer("PUT", ONE, Reply(404))
    update(server.client("t", tries=2, sleep=lambda _: None), record)
    assert methods(dpat) == ["PATCH", "PUT", "PATCH"]


def test_retry_after_prevents_a_put(dpat: LittleDpat, client: DpatClient, record: ResultRecord) -> None:
    dpat.answer("PATCH", ONE, Reply(503, headers={"Retry-After": "9"}))
    with pytest.raises(DpatUnavailable):
        update(client, record)
    assert methods(dpat) == ["PATCH"]


def test_a_conflict_does_not_concern_the_method(dpat: LittleDpat, client: DpatClient, record: ResultRecord) -> None:
    update(client, record, "v1")
    assert update(client, record, "v1")["versionId"] == "v3"
    dpat.answer("PATCH", ONE, Reply(409))
    with pytest.raises(Conflict):
        update(client, record, "v3")
    assert not dpat.made("PUT")


def test_a_deleted_result_is_not_found_and_does_not_concern_the_method(
    dpat: LittleDpat, client: DpatClient, record: ResultRecord
) -> None:
    dpat.results.clear()
    with pytest.raises(NotFound):
        update(client, record)
    assert methods(dpat) == ["PATCH", "PUT"]
    client.create_result("app", record)
    update(client, record)
    assert methods(dpat)[2:] == ["POST", "PATCH"]


# --- tokens


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_concerns_the_token_if_a_get_is_refused_too(
    dpat: LittleDpat, client: DpatClient, record: ResultRecord, status: int
) -> None:
    for method in ("PATCH", "GET"):
        dpat.answer(method, ONE, Reply(status))
    with pytest.raises(TokenExpired):
        update(client, record)
    assert methods(dpat) == ["PATCH", "GET"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_accepts_the_token_but_no_update_is_a_refusal(
    dpat: LittleDpat, client: DpatClient, record: ResultRecord, status: int
) -> None:
    for method in ("PATCH", "PUT"):
        dpat.answer(method, ONE, Reply(status))
    with pytest.raises(DpatRefused, match=f"accepts the token, but answered {status} to PUT"):
        update(client, record)


def test_a_refused_method_uses_up_no_tokens(dpat: LittleDpat, server: DpatServer, record: ResultRecord) -> None:
    class Only:
        def secret(self) -> str:
            return "the-only-one"

        def instead_of(self, refused: str) -> str | None:
            raise AssertionError(f"{refused} was given up")

    dpat.answer("PATCH", ONE, Reply(403))
    assert update(server.client(Only()), record)["versionId"] == "v2"


def test_a_failing_server_does_not_invalidate_the_token(
    dpat: LittleDpat, client: DpatClient, record: ResultRecord
) -> None:
    dpat.answer("PATCH", ONE, Reply(403))
    dpat.answer("GET", ONE, Reply(503))
    with pytest.raises(DpatUnavailable):
        update(client, record)


# --- the stored method


def test_a_method_dropped_by_a_proxy_is_not_used_in_the_next_try(
    dpat: LittleDpat, server: DpatServer, record: ResultRecord
) -> None:
    dpat.answer("PATCH", ONE, Reply(200, b"{", {"Content-Length": "99"}, sent=1))
    update(server.client("t", tries=2, sleep=lambda _: None), record)
    assert methods(dpat) == ["PATCH", "PUT"]


def test_processes_share_the_method_and_detect_a_changed_server(
    dpat: LittleDpat, client: DpatClient, record: ResultRecord, settings: Settings
) -> None:
    dpat.answer("PATCH", ONE, Reply(405))
    update(client, record)
    another = DpatServers(settings).at(dpat.url).client("t")
    update(another, record, "v2")
    assert methods(dpat) == ["PATCH", "PUT", "PUT"]
    dpat.answer("PUT", ONE, Reply(405))
    dpat.answer("PATCH", ONE, dpat.usual)
    update(another, record, "v3")
    update(DpatServers(settings).at(dpat.url).client("t"), record, "v4")
    assert methods(dpat)[3:] == ["PUT", "PATCH", "PATCH"]


@pytest.mark.parametrize("way", ["folder", "pipe", "garbage", "denied"])
def test_an_unusable_file_prevents_no_update(
    dpat: LittleDpat, client: DpatClient, record: ResultRecord, settings: Settings, way: str
) -> None:
    spoil(settings, way)
    dpat.answer("PATCH", ONE, Reply(405))
    for version in ("v1", "v2"):
        update(client, record, version)
    assert methods(dpat) == ["PATCH", "PUT", "PUT"]


def spoil(settings: Settings, way: str) -> None:
    path = settings.data_dir / "put-servers.json"
    if way == "denied":
        settings.data_dir.write_text("a file where the folder belongs")
        return
    settings.data_dir.mkdir()
    make: dict[str, Callable[[], object]] = {
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "garbage": lambda: path.write_bytes(b'{"\xff'),
    }
    make[way]()


# --- comparison of results


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"attachments": [], "user": "somebody", "onlyDpatKnows": {"a": 1}}, True),
        ({"displayProperties": {"n": 1.0, "none": None}}, True),
        ({"displayProperties": {"n": 1, "Status": "analysis started"}}, False),
        ({"displayProperties": {"n": "1"}}, False),
        ({"displayProperties": {}}, False),
        ({"displayProperties": None}, False),
        ({"displayResult": "12"}, False),
        ({"data": {"context": {}, "result": {"type": "primitive", "content": []}}}, False),
        ({"data": {"result": {"type": "primitive", "content": [{"polygons": []}]}}}, False),
        ({"data": {"context": {"old": 1}, "result": {"type": "primitive", "content": [{"polygons": []}]}}}, False),
        (
            {"data": {"context": {}, "result": {"type": "primitive", "content": [{"polygons": [], "style": None}]}}},
            True,
        ),
        ({"id": None}, False),
        ({"versionId": None}, False),
    ],
)
def test_comparison_of_the_stored_with_the_sent_result(changes: dict[str, Any], same: bool) -> None:
    sent = {
        "displayResult": "12 %",
        "displayProperties": {"n": 1},
        "applicationVersion": "1",
        "data": {"context": {}, "result": {"type": "primitive", "content": [{"polygons": []}]}},
    }
    assert is_as_sent(sent, {**sent, "id": 1, "versionId": "v2", **changes}) is same
