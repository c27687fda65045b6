"""Clients that stall leave the webserver to the others: hundreds of them, of each kind, against the real gunicorn."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path

import pytest
import trustme

from slidehook.results.limits import MIB
from tests.e2e.conftest import ROUTE, Site
from tests.e2e.running import wait_for
from tests.e2e.test_front_door import ANSWER_S, chunk, chunked, head

MANY = 300
HEALTHY_S = 2.0
"""Within which `/healthz` answers, each time, on a machine that has a processor free for it."""
OPENAPI = head("GET /openapi.json HTTP/1.1", "Host: a")
HEALTH = head("GET /healthz HTTP/1.1", "Host: a")
HALF_BODY = head(f"POST {ROUTE} HTTP/1.1", "Host: a", "Content-Length: 1000")
KINDS = {
    "nothing is sent": b"",
    "half a request line": b"POST /dpat_ia_a",
    "half a head": HALF_BODY[:-4],
    "no body": HALF_BODY,
    "half a body, byte by byte": HALF_BODY + b"{",
    "half a chunk, byte by byte": chunked(ROUTE, b"ff\r\n{"),
    "a word is waited for, and no body sent": HALF_BODY[:-2] + b"Expect: 100-continue\r\n\r\n",
    "the answer is not read": HEALTH,
    "many answers are not read": OPENAPI * 100,
    "the connection is not ended": head("GET /healthz HTTP/1.1", "Host: a", "Connection: close"),
    "refused, and goes on sending": head(f"POST {ROUTE} HTTP/1.1", "Host: a", "Content-Length: 99999999999"),
}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A webserver of the usual settings, that shares its clients with no other test."""
    site = Site(tmp_path_factory.mktemp("slow"))
    try:
        site.start_web()
        yield site
    finally:
        site.stop()


class Health:
    """How long `/healthz` took beside clients that stall, and without them.

    Tests may keep the machine busy, so the limit is at least five times the longest answer without such clients, of
    three before and three after.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._usual = [healthy_within(site) for _ in range(3)]
        self._beside: list[float] = []

    def ask(self) -> None:
        """Ask once, beside clients that stall."""
        self._beside.append(healthy_within(self._site))

    def assert_prompt(self) -> None:
        """Compare, once the clients are gone."""
        self._usual += [healthy_within(self._site) for _ in range(3)]
        assert max(self._beside) < max(HEALTHY_S, 5 * max(self._usual))


def healthy_within(site: Site) -> float:
    """Ask whether the webserver is well, over a new connection; returns how long that took, in seconds."""
    began = time.monotonic()
    connection = HTTPConnection("127.0.0.1", site.port, timeout=ANSWER_S)
    with contextlib.closing(connection):
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
    return time.monotonic() - began


@contextlib.contextmanager
def stalled(site: Site, sent: bytes) -> Iterator[list[socket.socket]]:
    """Open many connections that send so much and no more, and read nothing."""
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(MANY):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.settimeout(ANSWER_S)
            client.connect(("127.0.0.1", site.port))
            client.sendall(sent)
            clients.append(client)
        yield clients


@pytest.mark.parametrize("kind", KINDS)
def test_the_webserver_answers_beside_hundreds_of_clients_that_stall(web: Site, kind: str) -> None:
    health = Health(web)
    with stalled(web, KINDS[kind]) as clients:
        for _ in range(5):
            health.ask()
            if "byte by byte" in kind or "goes on" in kind:
                for client in clients:
                    with contextlib.suppress(OSError):  # a client that was refused may be cut off
                        client.send(b" ")
        with socket.create_connection(("127.0.0.1", web.port), timeout=ANSWER_S) as client:
            client.sendall(head(f"POST {ROUTE} HTTP/1.1", "Host: a", "Content-Length: 2") + b"{}")
            assert read(client).status == 400
    health.assert_prompt()


def test_the_webserver_answers_beside_hundreds_of_idle_clients(web: Site) -> None:
    health = Health(web)
    with stalled(web, HEALTH) as clients:
        for client in clients:
            assert read(client).status == 200
        for _ in range(5):
            health.ask()
        clients[-1].sendall(HEALTH)
        assert read(clients[-1]).status == 200
    health.assert_prompt()


def read(client: socket.socket) -> HTTPResponse:
    """Read one answer from a connection that goes on."""
    answer = HTTPResponse(client)
    answer.begin()
    answer.read()
    answer.close()
    return answer


def statuses(client: socket.socket, count: int) -> list[int]:
    """Read so many answers that come one after the other, without a byte of what may follow."""
    found: list[int] = []
    while len(found) < count:
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            data += client.recv(1)
        (length,) = re.findall(rb"Content-Length: (\d+)", data)
        found.append(int(data.split()[1]))
        assert len(client.recv(int(length), socket.MSG_WAITALL)) == int(length)
    return found


def test_a_request_that_comes_in_pieces_is_answered(web: Site) -> None:
    whole = chunked(f"{ROUTE}/imagenotification", chunk(b'{"a"'), chunk(b":1}"), b"0\r\n\r\n")
    with socket.create_connection(("127.0.0.1", web.port), timeout=ANSWER_S) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            for number in range(len(whole)):
                client.sendall(whole[number : number + 1])
            assert read(client).status == 400


def test_requests_that_come_together_are_answered_in_their_order(web: Site) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=ANSWER_S) as client:
        client.sendall(HEALTH + head("GET /no HTTP/1.1", "Host: a") + HEALTH + HEALTH[:9])
        assert statuses(client, 3) == [200, 404, 200]
        client.sendall(HEALTH[9:])
        assert statuses(client, 1) == [200]


def test_who_waits_for_a_word_before_the_body_gets_it_once(web: Site) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=ANSWER_S) as client:
        client.sendall(head(f"POST {ROUTE} HTTP/1.1", "Host: a", "Content-Length: 2", "Expect: 100-continue"))
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"{}")
        assert client.recv(12) == b"HTTP/1.1 400"


def test_chunks_that_are_larger_than_any_body_are_refused_before_they_come(web: Site) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=ANSWER_S) as client:
        client.sendall(chunked(ROUTE, b"ffffffff\r\n"))
        assert read(client).status == 413


def test_a_body_larger_than_any_is_refused_before_it_comes_and_the_client_hears_why(web: Site) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=ANSWER_S) as client:
        client.sendall(head(f"POST {ROUTE} HTTP/1.1", "Host: a", f"Content-Length: {80 * MIB}"))
        client.sendall(bytes(8 * MIB))
        answer = read(client)
        assert (answer.status, answer.headers["Connection"]) == (413, "close")


def test_a_request_that_does_not_come_to_its_end_is_ended(web: Site) -> None:
    with socket.create_connection(("127.0.0.1", web.port), timeout=ANSWER_S) as client:
        client.sendall(HEALTH[:-4])
        answer = read(client)
        assert (answer.status, answer.headers["X-Sectra-ApiVersion"]) == (408, "1.10")
        assert client.recv(1) == b""


def test_a_webserver_that_is_told_to_leave_does_not_wait_for_who_stalls(new_site: Callable[..., Site]) -> None:
    site = new_site()
    program = site.start_web()
    with stalled(site, HALF_BODY):
        healthy_within(site)
        program.process.terminate()
        wait_for(lambda: program.process.poll() is not None, "the webserver has left")


def test_clients_that_begin_no_tls_take_no_thread_either(new_site: Callable[..., Site], tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    site = new_site()
    both = str(tmp_path / "both.pem")
    program = site.start("flask_run.sh", "--certfile", both, "--keyfile", both)

    def ask() -> int:
        connection = HTTPSConnection("localhost", site.port, timeout=ANSWER_S, context=trusting)
        with contextlib.closing(connection):
            connection.request("GET", "/openapi.json")
            answer = connection.getresponse()
            answer.read()
            return answer.status

    def is_there() -> bool:
        assert program.process.poll() is None
        with contextlib.suppress(ConnectionRefusedError):
            return ask() == 200
        return False

    wait_for(is_there, "the webserver answers")
    with stalled(site, b""), stalled(site, b"\x16\x03\x01"):
        began = time.monotonic()
        assert ask() == 200
        assert time.monotonic() - began < ANSWER_S / 2
