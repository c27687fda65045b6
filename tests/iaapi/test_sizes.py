"""An endless answer does not fill the memory, neither by its bytes nor by its announced length."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from slidehook.dpat.errors import DpatRefused, Malformed, NotFound
from slidehook.dpat.iaapi.client import DpatClient, DpatServer
from slidehook.dpat.iaapi.response_limits import PAGE_BYTES, RECORD_BYTES, max_response_bytes
from slidehook.settings import Settings
from tests.iaapi.little_dpat import LittleDpat, Reply

WITHIN_S = 120.0
MIB = 1024 * 1024
PROGRAM = """
import re, sys
from pathlib import Path
from slidehook.errors import SlidehookError
from slidehook.dpat.iaapi.client import DpatServer
from slidehook.settings import Settings

client = DpatServer(sys.argv[1], Settings(_env_file=None)).client("the-token")
calls = {
    "info": lambda: client.slide_info("S"),
    "case": lambda: client.case("A"),
    "list": lambda: client.results_on_slide("app", "S"),
    "access": lambda: client.verify_access("app", "S"),
    "label": lambda: client.label("S"),
    "tile": lambda: client.tile("S", 1, 0, 0, "jpg"),
    "attachment": lambda: client.attachment("app", 1, "a"),
    "token": lambda: client._transport.fetch_token("user", "password", "app", tries=1),
}
def peak_kib():
    # Not ru_maxrss, which starts at the parent's value.
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

before = peak_kib()
try:
    calls[sys.argv[2]]()
    said = "took it"
except SlidehookError as error:
    said = f"{type(error).__name__}: {error}"
print((peak_kib() - before) // 1024, said)
"""
"""Prints the growth of a process's memory by a call, in MiB, and the call's outcome."""

Send = Callable[[bytes], None]


@contextmanager
def endless(head: str, body: Callable[[Send], None]) -> Iterator[str]:
    """Answer every call with `head` and endless `body`, until the caller disconnects; yields the callback URL."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                caller, _ = server.accept()
                with caller, suppress(OSError):
                    caller.recv(65536)
                    caller.sendall(head.encode())
                    body(caller.sendall)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(WITHIN_S)


def for_ever(piece: bytes) -> Callable[[Send], None]:
    def send(out: Send) -> None:
        while True:
            out(piece)

    return send


ZEROS, CHUNK = bytes(MIB), b"100000\r\n" + bytes(MIB) + b"\r\n"
CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HUGE = "HTTP/1.1 200 OK\r\nContent-Length: 2000000000000\r\n\r\n"
WITHOUT_END = "HTTP/1.1 200 OK\r\n\r\n"
EVER_NEXT_CHUNK = b"1\r\na\r\n" * 50_000


@pytest.mark.parametrize(
    ("call", "head", "piece", "said"),
    [
        ("info", CHUNKED, CHUNK, "Malformed: DPAT's answer is longer"),
        ("info", HUGE, ZEROS, "Malformed: DPAT's answer is longer"),
        ("info", WITHOUT_END, ZEROS, "Malformed: DPAT's answer is longer"),
        ("info", CHUNKED, EVER_NEXT_CHUNK, "Malformed: DPAT's answer is longer"),
        ("info", CHUNKED, b"0" * MIB, "Dpat"),
        ("info", CHUNKED + "0\r\n", b"x: y\r\n" * 10_000, "Malformed: DPAT's answer is longer"),
        ("info", "", b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, "Malformed: DPAT's answer is longer"),
        ("info", "HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 10_000, "Dpat"),
        ("info", CHUNKED.replace("200", "302") + "", CHUNK, "DpatRefused: DPAT answered 302"),
        (
            "info",
            CHUNKED.replace("200 OK\r\n", "302 Found\r\nLocation: /x\r\n"),
            CHUNK,
            "DpatRefused: DPAT answered 302",
        ),
        ("info", CHUNKED.replace("200", "404"), CHUNK, "NotFound: DPAT answered 404"),
        ("info", WITHOUT_END.replace("200", "500"), ZEROS, "DpatUnavailable: DPAT answered 500"),
        ("token", HUGE.replace("200", "401"), ZEROS, "DpatRefused: DPAT denies the service account a token"),
        ("token", CHUNKED, CHUNK, "Malformed: DPAT's answer is longer"),
        ("case", CHUNKED, CHUNK, "Malformed: DPAT's answer is longer"),
        ("list", CHUNKED, CHUNK, "Malformed: DPAT's answer is longer"),
        ("access", CHUNKED, CHUNK, "Malformed: DPAT's answer is longer"),
        ("attachment", CHUNKED, CHUNK, "Malformed: DPAT's answer is longer"),
        ("label", CHUNKED, CHUNK, "Malformed: DPAT's answer is longer"),
        ("tile", CHUNKED, CHUNK, "Malformed: DPAT's answer is longer"),
        ("tile", HUGE, ZEROS, "Malformed: DPAT's answer is longer"),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else None,
)
def test_an_endless_answer_is_read_only_up_to_its_limit(call: str, head: str, piece: bytes, said: str) -> None:
    with endless(head, for_ever(piece)) as url:
        grown_mib, outcome = grown_by(url, call)
    assert outcome.startswith(said)
    assert grown_mib < (180 if call in {"list", "access", "attachment"} else 60)


@pytest.mark.parametrize(
    ("call", "begin", "piece", "length"),
    [
        ("list", b"[", b"1,", 60 * MIB),
        ("list", b"[", b"[],", 60 * MIB),
        ("list", b"[", b'{"id":1,"versionId":1},', 60 * MIB),
        ("case", b"[", b"{},", 15 * MIB),
        ("info", b"{", b'"a":{},', 3 * MIB),
        ("info", b'{"id":"S","focalPlanes":[', b"1,", 3 * MIB),
    ],
)
def test_the_memory_for_json_is_bounded_by_its_size(call: str, begin: bytes, piece: bytes, length: int) -> None:
    body = begin + piece * (length // len(piece))
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
    with endless(head, lambda send: send(body)) as url:
        grown_mib, outcome = grown_by(url, call)
    assert outcome.startswith("Malformed: ")
    assert grown_mib < 500


def grown_by(url: str, call: str) -> tuple[int, str]:
    command = [sys.executable, "-c", PROGRAM, url, call]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=True)
    grown, _, outcome = done.stdout.strip().partition(" ")
    return int(grown), outcome


def test_each_kind_of_answer_has_its_own_limit() -> None:
    results, record = max_response_bytes("/applications/app/results/slide/S"), max_response_bytes("/slides/S/info")
    assert record == max_response_bytes("/token") == max_response_bytes("/anything") == RECORD_BYTES
    assert record < max_response_bytes("/slides/S/label") < max_response_bytes("/requests/A/images/info") < results
    assert max_response_bytes("/slides/S/request/images/info") == max_response_bytes("/requests/A/images/info")


def test_a_long_record_is_read(dpat: LittleDpat, client: DpatClient) -> None:
    dpat.record["examFreeFields"] = "x" * (RECORD_BYTES - 4096)
    assert client.slide_info("S-1").id == "S-1"
    dpat.record["examFreeFields"] = "x" * (RECORD_BYTES + 1)
    with pytest.raises(Malformed, match="longer"):
        client.slide_info("S-1")
    del dpat.record["examFreeFields"]
    assert client.slide_info("S-1").id == "S-1"


@pytest.mark.parametrize(("size", "connections"), [(0, 1), (PAGE_BYTES - 1, 1), (PAGE_BYTES + 1, 3)])
def test_a_short_error_page_keeps_the_connection(
    dpat: LittleDpat, settings: Settings, size: int, connections: int
) -> None:
    server = DpatServer(dpat.url, settings)
    dpat.answer("GET", "*", Reply(404, bytes(size)))
    with server.session:
        for _ in range(3):
            with pytest.raises(NotFound):
                server.client("the-token").slide_info("S-1")
    assert len({call.port for call in dpat.calls}) == connections


def test_a_redirect_is_named_and_not_followed(dpat: LittleDpat, client: DpatClient) -> None:
    dpat.answer("GET", "*", Reply(302, b"over there", {"Location": dpat.url + "/slides/S-2/info"}))
    with pytest.raises(DpatRefused, match="302, a redirect"):
        client.slide_info("S-1")
    assert len(dpat.calls) == 1
