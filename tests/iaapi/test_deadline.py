"""A server that sends slowly delays no caller beyond the caller's time limit."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import trustme

from slidehook.dpat.errors import DpatTimeout
from slidehook.dpat.iaapi import http_transport as wire
from slidehook.dpat.iaapi.client import DpatClient, DpatServer
from slidehook.dpat.iaapi.download import save_files
from slidehook.dpat.iaapi.models import ResultRecord
from slidehook.settings import Settings
from tests.e2e.running import wait_for
from tests.iaapi.little_dpat import BASE, LittleDpat, Reply

WITHIN_S = 1.0
MOST_S = 40.0
"""Below the duration of the answers below."""
EVERY_S = 0.05
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
DRIPS = {
    "the status": (b"", b"H" * 1000),
    "the headers": (HEAD, b"X-Drip: " + b"x" * 1000),
    "the body": (HEAD + b"Content-Length: 1000\r\n\r\n", b" " * 1000),
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 200),
    "a body without an end": (HEAD + b"\r\n", b" " * 1000),
    "continue, continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50),
}


class Dripper:
    """Answers every call with some bytes at once and the others one by one."""

    def __init__(self, first: bytes, rest: bytes, tls: ssl.SSLContext | None = None) -> None:
        self._first, self._rest, self._tls = first, rest, tls
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.calls = 0
        self._threads = [threading.Thread(target=self._serve)]

    def __enter__(self) -> Dripper:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        for each in self._threads:
            each.join()
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._drip, args=(connection,)))
                self._threads[-1].start()

    def _drip(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            secured = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
            with secured:
                while b"\r\n\r\n" not in secured.recv(65536):
                    pass
                self.calls += 1
                secured.sendall(self._first)
                for number in range(len(self._rest)):
                    if self._over.wait(EVERY_S):
                        return
                    secured.sendall(self._rest[number : number + 1])


@pytest.fixture
def dripping() -> Iterator[Callable[..., Dripper]]:
    """Start servers that send slowly."""
    with ExitStack() as stack:
        yield lambda *what: stack.enter_context(Dripper(*what))


def client(settings: Settings, port: int, *, scheme: str = "http", within_s: float = WITHIN_S) -> DpatClient:
    return DpatServer(f"{scheme}://127.0.0.1:{port}{BASE}", settings).client("t", tries=3, within_s=within_s)


@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_a_slow_answer_ends_with_the_callers_time_limit(
    dripping: Callable[..., Dripper], settings: Settings, drip: tuple[bytes, bytes]
) -> None:
    dpat = dripping(*drip)
    began = time.monotonic()
    with pytest.raises(DpatTimeout):
        client(settings, dpat.port).slide_info("S-1")
    assert WITHIN_S - 0.1 < time.monotonic() - began < MOST_S
    wait_for(lambda: dpat.calls, "the call has arrived")
    assert dpat.calls == 1


def test_a_new_result_with_a_slow_answer_is_not_sent_again(
    dripping: Callable[..., Dripper], settings: Settings, record: ResultRecord
) -> None:
    dpat = dripping(*DRIPS["the body"])
    with pytest.raises(DpatTimeout):
        client(settings, dpat.port).create_result("app", record, lambda _: None)
    wait_for(lambda: dpat.calls, "the call has arrived")
    assert dpat.calls == 1


def test_a_slow_answer_over_tls_ends_with_the_callers_time_limit(
    dripping: Callable[..., Dripper], settings: Settings, tmp_path: Path
) -> None:
    hospital, bundle = trustme.CA(), tmp_path / "hospital.pem"
    hospital.cert_pem.write_to_path(bundle)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    hospital.issue_cert("127.0.0.1").configure_cert(context)
    dpat = dripping(*DRIPS["the headers"], context)
    trusting = settings.model_copy(update={"dpat_ca_bundle": bundle})
    with pytest.raises(DpatTimeout):
        client(trusting, dpat.port, scheme="https", within_s=3 * WITHIN_S).slide_info("S-1")
    wait_for(lambda: dpat.calls, "the call has arrived")
    assert dpat.calls == 1


@pytest.mark.parametrize("read_timeout", ["1s"])
def test_a_slow_answer_ends_even_without_a_time_limit_of_the_caller(
    dripping: Callable[..., Dripper], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_RESPONSE_S", WITHIN_S)
    dpat = dripping(*DRIPS["the body"])
    server = DpatServer(f"http://127.0.0.1:{dpat.port}{BASE}", settings)
    with pytest.raises(DpatTimeout):
        server.client("t").slide_info("S-1")


def test_a_download_may_take_as_long_as_bytes_arrive(
    dripping: Callable[..., Dripper], settings: Settings, tmp_path: Path
) -> None:
    size = round(2 * WITHIN_S / EVERY_S)
    head = f'HTTP/1.1 200 OK\r\nContent-Disposition: attachment; filename="a"\r\nContent-Length: {size}\r\n\r\n'
    dpat = dripping(head.encode(), b"x" * size)
    with client(settings, dpat.port).files("S-1") as response:
        (path,) = save_files(response, tmp_path, lambda *_: None)
    assert path.read_bytes() == b"x" * size


@pytest.mark.parametrize("drip", ["the status", "the headers"])
def test_a_download_with_slow_headers_does_not_begin(
    dripping: Callable[..., Dripper], settings: Settings, drip: str
) -> None:
    dpat = dripping(*DRIPS[drip])
    with pytest.raises(DpatTimeout), client(settings, dpat.port).files("S-1"):
        pytest.fail("it has begun")


def test_each_call_on_a_connection_has_its_own_time_limit(dpat: LittleDpat, server: DpatServer) -> None:
    hurried = server.client("t", within_s=1.0)
    assert hurried.slide_info("S-1").id == "S-1"
    late = threading.Event()
    threading.Timer(1.05, late.set).start()
    dpat.answer("GET", "/slides/S-1/info", Reply(body={"id": "S-1"}, sent=3, until=late))
    assert server.client("t").slide_info("S-1").id == "S-1"
