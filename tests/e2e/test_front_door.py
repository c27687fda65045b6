"""Requests as no well-behaved client sends them, byte by byte, to the webserver under gunicorn."""

from __future__ import annotations

import contextlib
import json
import socket
from http.client import HTTPResponse
from typing import Any

import pytest

from slidehook.results.limits import PLAIN_BODY_BYTES
from tests.e2e.conftest import ROUTE, Site

NOTIFICATION = f"{ROUTE}/imagenotification"
ANSWER_S = 90.0
"""How long an answer may take on a busy machine, in seconds."""


def exchange(site: Site, request: bytes) -> tuple[int, Any]:
    """Send bytes, and give the status and the JSON of the answer."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=ANSWER_S) as client:
        client.sendall(request)
        with contextlib.closing(HTTPResponse(client)) as answer:
            answer.begin()
            return answer.status, json.loads(answer.read())


def head(line: str, *headers: str) -> bytes:
    return "\r\n".join([line, *headers, "", ""]).encode("latin-1")


def chunked(path: str, *pieces: bytes) -> bytes:
    fields = ("Host: analysis", "Content-Type: application/json", "Transfer-Encoding: chunked")
    return head(f"POST {path} HTTP/1.1", *fields) + b"".join(pieces)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize(
    ("more", "status", "error"),
    [
        (1, 413, "The body is larger than 1 MiB."),
        (0, 400, "The body is not valid JSON."),
    ],
    ids=["one byte too many", "all that may be"],
)
def test_a_body_in_chunks_may_be_as_large_as_any_and_no_byte_larger(
    quiet_site: Site, more: int, status: int, error: str
) -> None:
    body = b" " * (PLAIN_BODY_BYTES + more)
    got, said = exchange(quiet_site, chunked(NOTIFICATION, chunk(body[:1000]), chunk(body[1000:]), b"0\r\n\r\n"))
    assert got == status
    assert said["error"] == error


@pytest.mark.parametrize("path", [ROUTE, NOTIFICATION])
@pytest.mark.parametrize(
    "pieces",
    [
        b"xyz\r\n{}\r\n0\r\n\r\n",
        b"-1\r\n{}\r\n0\r\n\r\n",
        b"\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}too long\r\n0\r\n\r\n",
        b"2;=\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}\r\n0\r\nno field\r\n\r\n",
        b"f" * 20_000,
    ],
    ids=["no number", "negative", "empty", "longer than said", "bad extension", "bad trailer", "endless"],
)
def test_chunks_that_are_none_are_refused_with_400_and_a_sentence(quiet_site: Site, path: str, pieces: bytes) -> None:
    assert exchange(quiet_site, chunked(path, pieces)) == (
        400,
        {"error": "The chunks of the request's body have invalid sizes or ends."},
    )


@pytest.mark.parametrize("name", ["X-Forwarded-Proto", "X-Forwarded-Protocol", "X-Forwarded-Ssl"])
def test_nobody_is_believed_who_says_that_he_forwards_as_long_as_no_proxy_is_trusted(
    quiet_site: Site, name: str
) -> None:
    value = {"X-Forwarded-Protocol": "ssl", "X-Forwarded-Ssl": "on"}.get(name, "https")
    forwarded = (f"{name}: {value}", "X-Forwarded-Host: elsewhere", "X-Forwarded-For: 192.0.2.1", "Script_Name: /x")
    status, said = exchange(quiet_site, head(f"GET {ROUTE} HTTP/1.1", "Host: dpat_analysis:5006", *forwarded))
    assert (status, said["url"]) == (200, f"http://dpat_analysis:5006{ROUTE}")


def test_a_slash_too_many_changes_no_answer_and_redirects_nobody(quiet_site: Site) -> None:
    plain = exchange(quiet_site, head(f"GET {ROUTE} HTTP/1.1", "Host: analysis"))
    assert exchange(quiet_site, head(f"GET {ROUTE}/ HTTP/1.1", "Host: analysis")) == plain
    assert exchange(quiet_site, head(f"GET /{ROUTE} HTTP/1.1", "Host: analysis"))[0] in {200, 404}
    whole = head(f"POST {ROUTE}//imagenotification HTTP/1.1", "Host: analysis", "Content-Length: 2") + b"[]"
    status, said = exchange(quiet_site, whole)
    assert (status, bool(said["error"])) == (400, True)


@pytest.mark.parametrize("host", ["[1::2::3]:5006", "a b", "http://analysis", "analysis:99999"])
def test_what_is_no_host_is_not_repeated(quiet_site: Site, host: str) -> None:
    status, said = exchange(quiet_site, head(f"GET {ROUTE} HTTP/1.1", f"Host: {host}"))
    assert (status, "has no valid host" in said["error"]) == (400, True)
