from __future__ import annotations

import gzip
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from slidehook.dpat.errors import (
    Conflict,
    DpatError,
    DpatRefused,
    DpatTimeout,
    DpatUnavailable,
    Malformed,
    NotFound,
    NotFromDpat,
    TokenExpired,
    UnsupportedByDpat,
)
from slidehook.dpat.iaapi.client import DpatClient, DpatServer, DpatServers
from slidehook.dpat.iaapi.models import ResultRecord, Stored
from slidehook.errors import BadRequest
from slidehook.settings import Settings
from tests.iaapi.little_dpat import BASE, Call, LittleDpat, Reply

INFO = "/slides/S-1/info"
ONE = "/applications/app/results/1"


@pytest.fixture
def stored(client: DpatClient, record: ResultRecord) -> dict[str, Any]:
    """A result stored by DPAT, as returned by it."""
    return client.create_result("app", record).answer


def update(client: DpatClient, record: ResultRecord, version: str = "v1") -> dict[str, Any]:
    return client.update_result("app", record, Stored(id=1, version_id=version)).answer


def test_every_call_carries_the_token_and_the_version(
    dpat: LittleDpat, client: DpatClient, record: ResultRecord
) -> None:
    dpat.answer("GET", "/slides/S-1/files", Reply(body=b"x"))
    client.slide_info("S-1")
    client.create_result("app", record)
    update(client, record)
    client.result("app", 1)
    client.results_on_slide("app", "S-1")
    with client.files("S-1"):
        pass
    for path in ("/slides/S-1/label", "/images/S-1_files/3/0_1.jpg"):
        dpat.answer("GET", path, Reply(body=b"JPEG"))
    assert client.label("S-1") == b"JPEG"
    assert client.tile("S-1", 3, 0, 1, "jpg") == b"JPEG"
    assert len(dpat.calls) == 8
    assert {call.headers["Authorization"] for call in dpat.calls} == {"Bearer the-token"}
    assert [call.headers["X-Sectra-ApiVersion"] for call in dpat.calls] == ["1.5"] + ["1.10"] * 7


def test_the_version_is_lowered_to_the_servers(dpat: LittleDpat, client: DpatClient) -> None:
    dpat.version = "1.9"
    client.slide_info("S-1")
    client.slide_info("S-1")
    assert [call.headers["X-Sectra-ApiVersion"] for call in dpat.calls] == ["1.5", "1.9"]


def test_calls_state_the_lower_of_both_versions_even_after_an_upgrade(dpat: LittleDpat, client: DpatClient) -> None:
    for theirs in ("1.8", "2.3", "1.9"):
        dpat.version = theirs
        client.slide_info("S-1")
    client.slide_info("S-1")
    assert [call.headers["X-Sectra-ApiVersion"] for call in dpat.calls] == ["1.5", "1.8", "1.10", "1.9"]


def test_an_answer_without_a_version_keeps_the_known_version(dpat: LittleDpat, client: DpatClient) -> None:
    dpat.version = "1.8"
    client.slide_info("S-1")
    for unread in (None, "new"):
        dpat.version = unread
        client.slide_info("S-1")
    client.slide_info("S-1")
    assert [call.headers["X-Sectra-ApiVersion"] for call in dpat.calls] == ["1.5", "1.8", "1.8", "1.8"]


@pytest.mark.parametrize(("phi", "asked"), [(False, None), (True, ["true"])])
def test_identifying_fields_are_requested_only_on_demand(
    dpat: LittleDpat, client: DpatClient, phi: bool, asked: list[str] | None
) -> None:
    assert client.slide_info("S-1", include_phi=phi).id == "S-1"
    assert dpat.calls[0].query.get("includePHI") == asked
    assert dpat.calls[0].query["scope"] == ["extended"]


def test_a_stored_result_is_returned_as_dpat_sent_it(client: DpatClient, stored: dict[str, Any]) -> None:
    assert stored["onlyDpatKnows"] == {"a": None}
    assert client.result("app", 1).answer == stored
    assert [each.answer for each in client.results_on_slide("app", "S-1")] == [stored]


@pytest.mark.usefixtures("stored")
def test_an_update_names_the_version_it_replaces(dpat: LittleDpat, client: DpatClient, record: ResultRecord) -> None:
    assert update(client, record)["versionId"] == "v2"
    (patch,) = dpat.made("PATCH")
    assert patch.json == record.to_wire() | {"id": 1, "versionId": "v1"}


@pytest.mark.usefixtures("stored")
def test_after_a_conflict_the_update_is_applied_to_the_newest_version(
    dpat: LittleDpat, client: DpatClient, record: ResultRecord
) -> None:
    update(client, record, "v1")
    assert update(client, record, "v1")["versionId"] == "v3"
    assert [call.method for call in dpat.calls] == ["POST", "PATCH", "PATCH", "GET", "PATCH"]
    assert dpat.calls[-1].json["versionId"] == "v2"


@pytest.mark.usefixtures("stored")
def test_a_conflict_by_put_is_resolved_too(dpat: LittleDpat, client: DpatClient, record: ResultRecord) -> None:
    dpat.answer("PATCH", ONE, Reply(405))
    update(client, record, "v1")
    assert update(client, record, "v1")["versionId"] == "v3"


@pytest.mark.usefixtures("stored")
def test_an_update_of_a_result_that_keeps_changing_fails(
    dpat: LittleDpat, client: DpatClient, record: ResultRecord
) -> None:
    dpat.answer("PATCH", ONE, Reply(409))
    with pytest.raises(Conflict, match="keeps changing"):
        update(client, record)
    assert len(dpat.made("PATCH")) == 5


def test_a_result_deleted_amid_a_conflict_is_not_found(
    dpat: LittleDpat, client: DpatClient, record: ResultRecord
) -> None:
    dpat.answer("PATCH", ONE, Reply(409))
    with pytest.raises(NotFound):
        update(client, record)
    assert not dpat.made("POST")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(dpat: LittleDpat, client: DpatClient, status: int) -> None:
    with LittleDpat() as other:
        dpat.answer("GET", INFO, Reply(status, headers={"Location": other.url + INFO}))
        with pytest.raises(DpatRefused, match="redirect"):
            client.slide_info("S-1")
        assert not other.calls
    assert len(dpat.calls) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, DpatRefused),
        (401, TokenExpired),
        (403, TokenExpired),
        (404, NotFound),
        (409, Conflict),
        (418, DpatRefused),
        (429, DpatUnavailable),
        (500, DpatUnavailable),
        (502, DpatUnavailable),
        (503, DpatUnavailable),
    ],
)
def test_each_status_raises_its_own_error(
    dpat: LittleDpat, client: DpatClient, status: int, kind: type[DpatError]
) -> None:
    dpat.answer("GET", INFO, Reply(status, body=b"<html>oops, token the-token</html>"))
    with pytest.raises(DpatError) as caught:
        client.slide_info("S-1", include_phi=True)
    assert type(caught.value) is kind
    assert str(caught.value) == f"DPAT answered {status} to GET /slides/S-1/info."


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_call_that_a_busy_server_rejects_is_retried(dpat: LittleDpat, server: DpatServer, status: int) -> None:
    dpat.answer("GET", INFO, Reply(status), Reply(status), Reply(body={"id": "S-1"}))
    assert server.client("t", tries=3).slide_info("S-1").id == "S-1"
    assert len(dpat.calls) == 3


def test_the_number_of_tries_is_limited(dpat: LittleDpat, server: DpatServer) -> None:
    dpat.answer("GET", INFO, Reply(503))
    with pytest.raises(DpatUnavailable):
        server.client("t", tries=2).slide_info("S-1")
    assert len(dpat.calls) == 2


@pytest.mark.parametrize("status", [400, 401, 404, 409])
def test_a_permanent_failure_is_not_retried(dpat: LittleDpat, server: DpatServer, status: int) -> None:
    dpat.answer("GET", INFO, Reply(status))
    with pytest.raises(DpatError):
        server.client("t", tries=3).slide_info("S-1")
    assert len(dpat.calls) == 1


def test_a_new_result_is_never_stored_twice(dpat: LittleDpat, server: DpatServer, record: ResultRecord) -> None:
    dpat.answer("POST", "/applications/app/results", Reply(503))
    with pytest.raises(DpatUnavailable):
        server.client("t", tries=3).create_result("app", record)
    assert len(dpat.calls) == 1


@pytest.mark.usefixtures("stored")
def test_an_update_whose_answer_was_lost_is_applied_once_more(
    dpat: LittleDpat, server: DpatServer, record: ResultRecord
) -> None:
    def lost(call: Call) -> Reply:
        dpat.usual(call)
        return Reply(502)

    dpat.answer("PATCH", ONE, lost, dpat.usual)
    assert server.client("t", tries=2).update_result("app", record, Stored(id=1, version_id="v1")).version_id == "v3"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b"<html>", b'{"id": null}', b'{"id": "S", "imageSize": {"width": "w", "height": 5}}'],
)
def test_an_answer_that_is_not_an_image_record_is_malformed(
    dpat: LittleDpat, client: DpatClient, body: bytes
) -> None:
    dpat.answer("GET", INFO, Reply(body=body))
    with pytest.raises(Malformed, match="the slide's image record"):
        client.slide_info("S-1")


def test_a_stored_result_without_its_version_is_malformed(
    dpat: LittleDpat, client: DpatClient, record: ResultRecord
) -> None:
    dpat.answer("POST", "/applications/app/results", Reply(201, record.to_wire() | {"id": 1}))
    with pytest.raises(Malformed, match="versionId"):
        client.create_result("app", record)


def test_an_answer_that_is_not_a_list_of_results_is_malformed(dpat: LittleDpat, client: DpatClient) -> None:
    dpat.answer("GET", "/applications/app/results/slide/S-1", Reply(body={}))
    with pytest.raises(Malformed, match="the list of results"):
        client.results_on_slide("app", "S-1")


@pytest.mark.parametrize("reply", [Reply(204), Reply(200), Reply(204, headers={"Content-Type": "text/html"})])
def test_the_label_of_a_slide_without_one_is_none(dpat: LittleDpat, client: DpatClient, reply: Reply) -> None:
    dpat.answer("GET", "/slides/S-1/label", reply)
    assert client.label("S-1") is None


@pytest.mark.parametrize(
    ("slide_id", "part"),
    [
        ("../x y/?", "..%2Fx%20y%2F%3F"),
        ("...", "..."),
        ("a#b", "a%23b"),
        ("%2e%2e", "%252e%252e"),
        ("sn\u00f6", "sn%C3%B6"),
        ("a\\b", "a%5Cb"),
        ("1.2.840", "1.2.840"),
    ],
)
def test_any_id_becomes_one_segment_of_the_path(
    client: DpatClient, slide_id: str, part: str, server: DpatServer
) -> None:
    seen: list[str] = []
    server.session.hooks["response"].append(lambda response, **_: seen.append(response.request.path_url))
    with pytest.raises(DpatError):
        client.label(slide_id)
    assert seen == [f"{BASE}/slides/{part}/label"]


@pytest.mark.parametrize("slide_id", [".", ".."])
def test_a_dot_segment_as_an_id_is_refused(dpat: LittleDpat, client: DpatClient, slide_id: str) -> None:
    with pytest.raises(BadRequest):
        client.slide_info(slide_id)
    assert not dpat.calls


def test_a_netrc_does_not_replace_the_token(
    dpat: LittleDpat, client: DpatClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login eve password pw\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    assert requests.get(dpat.url + INFO, timeout=60).request.headers["Authorization"].startswith("Basic")
    client.slide_info("S-1")
    assert dpat.calls[-1].headers["Authorization"] == "Bearer the-token"


def test_a_refused_connection_means_unavailable(settings: Settings) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DpatUnavailable, match=r"^DPAT can't be reached\.$"):
        DpatServer(f"http://127.0.0.1:{port}", settings).client("t").slide_info("S-1")


def test_a_broken_connection_means_unavailable(dpat: LittleDpat, client: DpatClient) -> None:
    dpat.answer("GET", INFO, Reply(body=b'{"id": "S-1"}', sent=4))
    with pytest.raises(DpatUnavailable):
        client.slide_info("S-1")


@pytest.mark.parametrize("read_timeout", ["1s"])
@pytest.mark.parametrize("sent", [0, 4])
def test_a_server_that_answers_too_late_or_stops_halfway_is_a_timeout(
    dpat: LittleDpat, client: DpatClient, sent: int
) -> None:
    go_on = threading.Event()

    def late(_: Call) -> Reply:
        if not sent:
            go_on.wait(120)
        return Reply(body=b'{"id": "S-1"}', sent=sent, until=go_on)

    dpat.answer("GET", INFO, late)
    try:
        with pytest.raises(DpatTimeout):
            client.slide_info("S-1")
    finally:
        go_on.set()


def test_a_server_without_tls_is_refused_and_not_retried(dpat: LittleDpat, settings: Settings) -> None:
    client = DpatServer(dpat.url.replace("http:", "https:"), settings).client("t", tries=3)
    with pytest.raises(DpatRefused, match="certificate"):
        client.slide_info("S-1")


def test_only_the_sites_certificates_are_trusted(
    dpat: LittleDpat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "another.pem"))
    bundle = tmp_path / "ours.pem"
    bundle.write_text("no certificate\n")
    server = DpatServer(dpat.url.replace("http:", "https:"), Settings(_env_file=None, dpat_ca_bundle=bundle))
    with pytest.raises(DpatError, match="certificate"):
        server.client("t").slide_info("S-1")


def test_each_server_has_one_connection_pool(settings: Settings, dpat: LittleDpat) -> None:
    servers = DpatServers(settings)
    assert servers.at(dpat.url) is servers.at(dpat.url)
    assert servers.at(dpat.url) is not servers.at("http://127.0.0.1:1")


def test_the_token_is_not_kept_in_the_connections(dpat: LittleDpat, server: DpatServer) -> None:
    server.client("one").slide_info("S-1")
    server.client("two").slide_info("S-1")
    assert [call.headers["Authorization"] for call in dpat.calls] == ["Bearer one", "Bearer two"]


def test_an_html_page_instead_of_an_answer_means_unavailable(dpat: LittleDpat, client: DpatClient) -> None:
    dpat.answer("GET", "*", Reply(body=b"<html>Sign in", headers={"Content-Type": "text/html; charset=utf-8"}))
    for call in (
        lambda: client.slide_info("S-1"),
        lambda: client.results_on_slide("app", "S-1"),
        lambda: client.label("S-1"),
        lambda: client.tile("S-1", 0, 0, 0, "jpg"),
        lambda: client.files("S-1").__enter__(),
    ):
        with pytest.raises(NotFromDpat, match="HTML page"):
            call()


def test_retry_after_delays_the_next_try(dpat: LittleDpat, server: DpatServer) -> None:
    waits: list[float] = []
    dpat.answer("GET", INFO, Reply(429, headers={"Retry-After": "3"}), dpat.usual)
    assert server.client("t", tries=2, sleep=waits.append).slide_info("S-1").id == "S-1"
    assert 3 < waits[0] < 4


def test_a_long_retry_after_is_raised_to_the_caller(dpat: LittleDpat, server: DpatServer) -> None:
    dpat.answer("GET", INFO, Reply(503, headers={"Retry-After": "86400"}))
    with pytest.raises(DpatUnavailable) as caught:
        server.client("t", tries=5).slide_info("S-1")
    assert caught.value.retry_after_s == 86400
    assert len(dpat.calls) == 1


def test_a_clients_time_limit_covers_all_its_calls(dpat: LittleDpat, server: DpatServer) -> None:
    go_on = threading.Event()

    def late(_: Call) -> Reply:
        go_on.wait(120)
        return Reply(503)

    dpat.answer("GET", INFO, late)
    client = server.client("t", tries=50, within_s=1.0)
    began = time.monotonic()
    try:
        for _ in range(3):
            with pytest.raises(DpatTimeout):
                client.slide_info("S-1")
    finally:
        go_on.set()
    assert len(dpat.calls) == 1
    assert time.monotonic() - began < 60


def test_a_client_without_retries_tries_once(dpat: LittleDpat, server: DpatServer) -> None:
    dpat.answer("GET", INFO, Reply(503))
    with pytest.raises(DpatUnavailable):
        server.client("t", tries=5).without_retries(5).slide_info("S-1")
    assert len(dpat.calls) == 1


def test_cookies_are_not_stored(dpat: LittleDpat, server: DpatServer) -> None:
    headers = {"Set-Cookie": "session=secret; Path=/"}
    dpat.answer("GET", INFO, Reply(body={"id": "S-1"}, headers=headers))
    server.client("one").slide_info("S-1")
    server.client("two").slide_info("S-1")
    assert ["Cookie" in call.headers for call in dpat.calls] == [False, False]
    assert not server.session.cookies


def test_ever_new_callback_urls_do_not_fill_the_memory(settings: Settings, dpat: LittleDpat) -> None:
    servers = DpatServers(settings)
    first, used = servers.at(dpat.url), servers.at(f"{dpat.url}/used")
    for number in range(200):
        servers.at(f"{dpat.url}/{number}")
        assert servers.at(f"{dpat.url}/used") is used
    assert servers.at(dpat.url) is not first
    # A dropped server remains usable for those who hold it.
    assert first.client("t").slide_info("S-1").id == "S-1"


def test_a_callback_url_that_requests_can_not_call_is_refused(settings: Settings) -> None:
    with pytest.raises(DpatRefused, match="callback URL"):
        DpatServer("http://[::1", settings).client("t", tries=3).slide_info("S-1")


@pytest.mark.usefixtures("stored")
def test_delays_between_conflicts_grow(dpat: LittleDpat, server: DpatServer, record: ResultRecord) -> None:
    waits: list[float] = []
    dpat.answer("PATCH", ONE, Reply(409))
    with pytest.raises(Conflict):
        server.client("t", sleep=waits.append).update_result("app", record, Stored(id=1, version_id="v1"))
    assert len(waits) == 3
    assert waits[0] < 0.31
    assert waits[2] > 0.39


PACKED_CALLS: dict[str, tuple[str, Callable[[DpatClient], object]]] = {
    "image record": (INFO, lambda client: client.slide_info("S-1")),
    "label": ("/slides/S-1/label", lambda client: client.label("S-1")),
    "tile": ("/images/S-1_files/3/0_0.jpg", lambda client: client.tile("S-1", 3, 0, 0, "jpg")),
    "attachment": ("/applications/app/results/1/attachments", lambda client: client.attachment("app", 1, "a.csv")),
    "results": ("/applications/app/results/slide/S-1", lambda client: client.results_on_slide("app", "S-1")),
    "case": ("/slides/S-1/request/images/info", lambda client: client.case_of("S-1")),
}


@pytest.mark.parametrize("share", [1.0, 0.7], ids=["whole", "cut"])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, gzip"])
@pytest.mark.parametrize("what", PACKED_CALLS)
def test_a_compressed_answer_is_refused_even_if_complete(
    dpat: LittleDpat, client: DpatClient, what: str, coding: str, share: float
) -> None:
    path, call = PACKED_CALLS[what]
    body = b"[]" if what in {"results", "case"} else b'{"id": "S-1"}'
    body = zlib.compress(body) if coding == "deflate" else gzip.compress(body)
    cut = body[: int(len(body) * share)]
    dpat.answer("GET", path, Reply(body=cut, headers={"Content-Encoding": coding}))
    with pytest.raises(Malformed, match="is compressed, which DPAT was not asked for"):
        call(client)
    assert dpat.calls[-1].headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(("status", "kind"), [(404, NotFound), (409, Conflict), (401, TokenExpired)])
def test_an_errors_status_counts_even_if_its_body_is_compressed(
    dpat: LittleDpat, client: DpatClient, status: int, kind: type[DpatError]
) -> None:
    dpat.answer("GET", INFO, Reply(status, b"no gzip", headers={"Content-Encoding": "gzip"}))
    with pytest.raises(kind):
        client.slide_info("S-1")


def test_no_answer_is_decompressed(dpat: LittleDpat, client: DpatClient) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    dpat.answer("GET", "/slides/S-1/label", Reply(body=bomb, headers={"Content-Encoding": "gzip"}))
    tracemalloc.start()
    try:
        with pytest.raises(Malformed):
            client.label("S-1")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 << 20


@pytest.mark.parametrize("what", ["label", "tile", "attachment"])
@pytest.mark.parametrize("announced", [4, 200])
def test_a_body_that_differs_from_its_length_is_not_returned_in_part(
    dpat: LittleDpat, client: DpatClient, what: str, announced: int
) -> None:
    path, call = PACKED_CALLS[what]
    dpat.answer("GET", path, Reply(body=b"x" * 100, sent=100, headers={"Content-Length": str(announced)}))
    with pytest.raises(DpatUnavailable):
        call(client)


@pytest.mark.parametrize("what", ["label", "tile", "attachment"])
def test_a_truncated_chunked_answer_is_not_returned_in_part(dpat: LittleDpat, client: DpatClient, what: str) -> None:
    path, call = PACKED_CALLS[what]
    headers = {"Content-Length": None, "Transfer-Encoding": "chunked"}
    dpat.answer("GET", path, Reply(body=b"3\r\nabc\r\n", sent=8, headers=headers))
    with pytest.raises(DpatUnavailable):
        call(client)


@pytest.mark.parametrize("what", ["label", "tile", "attachment"])
def test_a_body_that_ends_with_the_connection_is_refused(dpat: LittleDpat, client: DpatClient, what: str) -> None:
    path, call = PACKED_CALLS[what]
    dpat.answer("GET", path, Reply(body=b"abc", sent=3, headers={"Content-Length": None}))
    with pytest.raises(Malformed, match="sent no length"):
        call(client)


def test_an_unrequested_range_is_not_an_attachment(dpat: LittleDpat, client: DpatClient) -> None:
    path, call = PACKED_CALLS["attachment"]
    dpat.answer("GET", path, Reply(206, b"abc", {"Content-Range": "bytes 0-2/10"}))
    with pytest.raises(Malformed, match="only a part of the attachment"):
        call(client)


# --- the version in use until the server has stated its own


def versions(dpat: LittleDpat) -> list[str]:
    return [call.headers["X-Sectra-ApiVersion"] for call in dpat.calls]


@pytest.mark.parametrize(
    ("callers", "spoken"),
    [
        ("1.8", "1.8"),
        ("1.9", "1.9"),
        ("1.4", "1.4"),
        ("1.11", "1.10"),
        (" 1.9", "1.9"),
        (None, "1.5"),
        ("new", "1.5"),
    ],
)
def test_the_first_call_states_the_callers_version_but_at_most_ours(
    dpat: LittleDpat, server: DpatServer, client: DpatClient, callers: str | None, spoken: str
) -> None:
    dpat.version = "1.7"
    server.assume_version(callers)
    client.slide_info("S-1")
    server.assume_version(callers)  # from now on the server's own version applies
    client.slide_info("S-1")
    assert versions(dpat) == [spoken, "1.7"]


def test_a_server_of_unknown_version_is_asked_for_its_info_before_newer_calls(
    dpat: LittleDpat, client: DpatClient
) -> None:
    dpat.version = None
    dpat.answer("GET", "/info", Reply(body={"apiVersion": "1.9", "softwareVersion": "4.1"}))
    dpat.answer("GET", "/slides/S-1/request/images/info", Reply(body=[]))
    assert client.case_of("S-1") == []
    assert client.case_of("S-1") == []
    assert [call.path.rpartition("/")[2] for call in dpat.calls] == ["info", "info", "info"]
    assert [call.path for call in dpat.calls].count("/info") == 1
    assert versions(dpat) == ["1.5", "1.9", "1.9"]


@pytest.mark.parametrize("info", [Reply(404), Reply(405), Reply(body={}), Reply(body=[])])
def test_newer_calls_are_made_to_a_server_that_never_states_its_version(
    dpat: LittleDpat, client: DpatClient, info: Reply
) -> None:
    dpat.version = None
    dpat.answer("GET", "/info", info)
    with pytest.raises(UnsupportedByDpat):
        client.case_of("S-1")
    dpat.answer("GET", "/slides/S-1/request/images/info", Reply(body=[]))
    assert client.case_of("S-1") == []
    assert set(versions(dpat)) == {"1.5"}
