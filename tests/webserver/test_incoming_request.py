"""The detection of a request's end."""

from __future__ import annotations

import pytest

from webserver.incoming_request import IncomingRequest

MOST = 1000
GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
SIZED = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345"
CHUNKED = b"POST /x HTTP/1.1\r\ntransfer-encoding:  Chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n"
TRAILED = CHUNKED[:-2] + b"A: b\r\nC: d\r\n\r\n"


def fields(*lines: bytes) -> bytes:
    return b"\r\n".join([b"POST /x HTTP/1.1", *lines, b"", b""])


@pytest.mark.parametrize("request_", [GET, b"\r\n" + GET, SIZED, CHUNKED, TRAILED])
def test_a_request_is_complete_exactly_with_its_last_byte(request_: bytes) -> None:
    request = IncomingRequest(MOST)
    for number in range(len(request_)):
        assert not request.complete, request_[:number]
        request.feed(request_[number : number + 1])
    assert request.complete
    assert not request.truncated
    assert request.data == request_
    at_once = IncomingRequest(MOST, request_ + b"GET /next")
    assert (at_once.complete, at_once.truncated) == (True, False)


@pytest.mark.parametrize(
    "request_",
    [
        fields(b"Content-Length: 1001"),
        fields(b"Content-Length: " + b"9" * 30),
        fields(b"Content-Length: -1"),
        fields(b"Content-Length: 5", b"Content-Length: 5"),
        fields(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        fields(b"Transfer-Encoding: gzip, chunked"),
        fields(b"Transfer-Encoding: chunked") + b"no size\r\n",
        fields(b"Transfer-Encoding: chunked") + b"\r\n",
        fields(b"Transfer-Encoding: chunked") + b"3\r\nabcde",
        fields(b"Transfer-Encoding: chunked") + b"f" * 20_000,
        fields(b"Transfer-Encoding: chunked") + b"0\r\n" + b"A: b\r\n" * 20_000,
        b"GET / HTTP/1.0\n\n",
    ],
)  # fmt: skip
def test_a_request_that_will_be_refused_is_not_waited_for(request_: bytes) -> None:
    request = IncomingRequest(MOST, request_)
    assert (request.complete, request.truncated) == (True, True)


@pytest.mark.parametrize(
    "chunks",
    [b"ffffffff\r\n", b"3e9\r\n", b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\n", (b"1;" + b"a" * 999 + b"\r\nx\r\n") * 99],
)
def test_chunks_are_waited_for_as_long_as_they_are_not_too_large(chunks: bytes) -> None:
    request = IncomingRequest(MOST, fields(b"Transfer-Encoding: chunked") + chunks)
    assert (request.complete, request.truncated, request.body_is_too_large) == (True, True, True)
    assert not IncomingRequest(MOST, fields(b"Transfer-Encoding: chunked") + b"3e8\r\n" + b"x" * 1000).complete


def test_an_endless_head_is_finally_too_large() -> None:
    request = IncomingRequest(MOST, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10_000)
    assert not request.complete
    assert not request.head_is_too_large
    request.feed(b"A: b\r\n" * 1000)
    assert request.head_is_too_large


@pytest.mark.parametrize(
    ("line", "asks"),
    [
        (b"GET /healthz HTTP/1.1", True),
        (b"HEAD /healthz?from=proxy HTTP/1.1", True),
        (b"GET //healthz/ HTTP/1.1", True),
        (b"POST /healthz HTTP/1.1", False),
        (b"GET /healthzz HTTP/1.1", False),
        (b"GET /apps/healthz HTTP/1.1", False),
    ],
)
def test_a_health_check_is_recognized_by_its_first_line(line: bytes, asks: bool) -> None:
    assert IncomingRequest(MOST, line + b"\r\n\r\n").is_health_check is asks


def test_a_client_that_expects_100_continue_is_recognized() -> None:
    assert IncomingRequest(MOST, fields(b"Expect: 100-Continue", b"Content-Length: 5")).wants_continue
    assert not IncomingRequest(MOST, SIZED).wants_continue
