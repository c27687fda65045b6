"""A new result is stored once, even if DPAT's answer is lost."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from slidehook.dpat.errors import DpatError, DpatTimeout, DpatUnavailable, Malformed, NotFound
from slidehook.dpat.iaapi.client import DpatClient, DpatServer
from slidehook.dpat.iaapi.models import ResultRecord, Stored
from slidehook.settings import Settings
from tests.iaapi.little_dpat import Answerer, Call, LittleDpat, Reply

RESULTS = "/applications/app/results"
LISTED = f"{RESULTS}/slide/S-1"
HTML = {"Content-Type": "text/html; charset=utf-8"}


def first(results: list[Stored]) -> Stored | None:
    return results[0] if results else None


@pytest.fixture
def patient(server: DpatServer) -> DpatClient:
    """A client with three tries and no delay between them."""
    return server.client("t", tries=3, sleep=lambda _: None)


def stored_but(dpat: LittleDpat, reply: Reply) -> Answerer:
    """Store the result, but answer something else."""

    def answer(call: Call) -> Reply:
        dpat.usual(call)
        return reply

    return answer


LOST = {
    "closed before the answer": Reply(201, sent=0),
    "cut in the answer": Reply(201, {"id": 1, "versionId": "v1"}, sent=5),
    "a proxy's 502": Reply(502),
    "500": Reply(500),
    "a proxy's page": Reply(200, b"<html>", HTML),
    "an answer that is none": Reply(201, b"{}"),
}


@pytest.mark.parametrize("reply", LOST.values(), ids=LOST)
def test_a_result_whose_answer_was_lost_is_found_and_not_created_again(
    dpat: LittleDpat, patient: DpatClient, record: ResultRecord, reply: Reply
) -> None:
    dpat.answer("POST", RESULTS, stored_but(dpat, reply))
    found = patient.create_result("app", record, first)
    assert (found.id, found.answer["onlyDpatKnows"]) == (1, {"a": None})
    assert len(dpat.made("POST")) == 1
    assert len(dpat.results) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_result_that_was_not_stored_is_sent_again(
    dpat: LittleDpat, patient: DpatClient, record: ResultRecord, status: int
) -> None:
    dpat.answer("POST", RESULTS, Reply(status), Reply(status), dpat.usual)
    assert patient.create_result("app", record, first).id == 1
    assert [call.method for call in dpat.calls] == ["POST", "GET", "POST", "GET", "POST"]
    assert len(dpat.results) == 1


def test_a_foreign_result_on_the_slide_is_not_taken_for_the_own_one(
    dpat: LittleDpat, patient: DpatClient, record: ResultRecord
) -> None:
    patient.create_result("app", record)
    dpat.answer("POST", RESULTS, Reply(503), dpat.usual)
    mine: Callable[[list[Stored]], Stored | None] = lambda found: next((each for each in found if each.id != 1), None)  # noqa: E731
    assert patient.create_result("app", record, mine).id == 2
    assert len(dpat.results) == 2


def test_while_the_list_can_not_be_read_nothing_is_sent_again(
    dpat: LittleDpat, patient: DpatClient, record: ResultRecord
) -> None:
    dpat.answer("POST", RESULTS, stored_but(dpat, Reply(502)))
    dpat.answer("GET", LISTED, Reply(503))
    with pytest.raises(DpatUnavailable):
        patient.create_result("app", record, first)
    assert len(dpat.made("POST")) == 1


@pytest.fixture
def slow(dpat: LittleDpat) -> Iterator[threading.Event]:
    """The event after which DPAT stores a result, long after it was sent."""
    go_on = threading.Event()

    def answer(call: Call) -> Reply:
        go_on.wait(120)
        return dpat.usual(call)

    dpat.answer("POST", RESULTS, answer)
    yield go_on
    go_on.set()


@pytest.mark.parametrize("read_timeout", ["1s"])
@pytest.mark.usefixtures("slow")
def test_after_a_timeout_the_result_is_not_sent_again(
    dpat: LittleDpat, patient: DpatClient, record: ResultRecord
) -> None:
    with pytest.raises(DpatTimeout):
        patient.create_result("app", record, first)
    assert [call.method for call in dpat.calls] == ["POST", "GET", "GET"]


@pytest.mark.parametrize("read_timeout", ["1s"])
def test_a_result_that_is_stored_late_is_found(
    dpat: LittleDpat, server: DpatServer, record: ResultRecord, slow: threading.Event
) -> None:
    def until_stored(_: float) -> None:
        slow.set()
        assert dpat.stored.wait(120)

    client = server.client("t", tries=2, sleep=until_stored)
    assert client.create_result("app", record, first).id == 1
    assert len(dpat.made("POST")) == 1


def test_a_malformed_answer_is_an_error_if_no_result_is_found(
    dpat: LittleDpat, patient: DpatClient, record: ResultRecord
) -> None:
    dpat.answer("POST", RESULTS, Reply(201, b"{}"))
    with pytest.raises(Malformed):
        patient.create_result("app", record, first)
    assert len(dpat.made("POST")) == 1


@pytest.mark.parametrize("status", [400, 401, 404, 409])
def test_a_refusal_is_a_certain_outcome(
    dpat: LittleDpat, patient: DpatClient, record: ResultRecord, status: int
) -> None:
    dpat.answer("POST", RESULTS, Reply(status))
    with pytest.raises(DpatError):
        patient.create_result("app", record, first)
    assert len(dpat.calls) == 1


def test_without_a_connection_the_results_are_not_checked(settings: Settings, record: ResultRecord) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    dpats: list[LittleDpat] = []

    def comes_back(_: float) -> None:
        dpats.append(LittleDpat(port).__enter__())

    client = DpatServer(LittleDpat.url_at(port), settings).client("t", tries=2, sleep=comes_back)
    try:
        assert client.create_result("app", record, first).id == 1
        assert [call.method for call in dpats[0].calls] == ["POST"]
    finally:
        for each in dpats:
            each.__exit__(None, None, None)


def test_a_deleted_result_is_not_found_on_a_server_with_patch_only(
    dpat: LittleDpat, client: DpatClient, record: ResultRecord
) -> None:
    dpat.answer("PUT", "*", Reply(405))
    with pytest.raises(NotFound):
        client.update_result("app", record, Stored(id=1, version_id="v1"))


def test_patch_is_used_again_when_a_server_no_longer_accepts_put(
    dpat: LittleDpat, client: DpatClient, server: DpatServer, record: ResultRecord
) -> None:
    client.create_result("app", record)
    server.put_only.remember()
    dpat.answer("PUT", "*", Reply(405))
    assert client.update_result("app", record, Stored(id=1, version_id="v1")).version_id == "v2"
    assert client.update_result("app", record, Stored(id=1, version_id="v2")).version_id == "v3"
    assert [call.method for call in dpat.calls] == ["POST", "PUT", "PATCH", "PATCH"]
