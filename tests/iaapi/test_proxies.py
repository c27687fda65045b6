"""Proxies in front of DPAT: only the site's setting applies, and a proxy's answer is not taken for DPAT's."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from slidehook.dpat.errors import DpatNotReached, DpatRefused, DpatUnavailable, NotFound, NotFromDpat, TokenExpired
from slidehook.dpat.iaapi.client import DpatClient, DpatServer
from slidehook.errors import SettingsInvalid
from slidehook.settings import Settings, read_settings
from slidehook.systems import Secrets
from tests.iaapi.little_dpat import BASE, LittleDpat, Reply

INFO = "/slides/S-1/info"
PAGE = {"Content-Type": "text/html; charset=utf-8", "X-Sectra-ApiVersion": None}
DPAT = "http://dpat.invalid"
"""A host that is reachable only through a proxy."""


class Proxy(ThreadingHTTPServer):
    """A real HTTP proxy that answers every call alike and records the calls."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked: list[tuple[str, str | None]] = []
        self.status, self.body, self.headers = 200, b'{"id": "S-1"}', {"X-Sectra-ApiVersion": "1.10"}
        self.address = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Proxy:
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class Answering(BaseHTTPRequestHandler):
    server: Proxy

    def log_message(self, *_: Any) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        self.server.asked.append((f"{self.command} {self.path}", self.headers.get("Proxy-Authorization")))
        self.send_response(self.server.status)
        for name, value in {**self.server.headers, "Content-Length": str(len(self.server.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.server.body)

    do_CONNECT = do_GET  # noqa: N815 - the name that http.server looks for


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as proxy:
        yield proxy


def dead_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def client_at(url: str, proxy: str | None = None) -> DpatClient:
    return DpatServer(url, Settings(_env_file=None, read_timeout="5s", dpat_proxy=proxy)).client("the-token")


@pytest.fixture
def _dead_proxy_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{dead_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("_dead_proxy_on_the_host")
def test_the_hosts_proxy_variables_are_not_used(dpat: LittleDpat, proxy: Proxy) -> None:
    assert client_at(dpat.url).slide_info("S-1").id == "S-1"
    assert client_at(DPAT + BASE, proxy.address).slide_info("S-1").id == "S-1"
    with pytest.raises(DpatNotReached, match=r"^DPAT can't be reached\.$"):
        client_at(DPAT + BASE).slide_info("S-1")


def test_dpat_is_called_through_the_sites_proxy_even_on_new_connections(proxy: Proxy) -> None:
    settings = Settings(_env_file=None, dpat_proxy=proxy.address.replace("//", "//me:pa%3Ass@"))
    server = DpatServer(DPAT + BASE, settings)
    server.client("the-token").slide_info("S-1")
    server.replace_connections()
    server.client("the-token").slide_info("S-1")
    assert proxy.asked == [(f"GET {DPAT}{BASE}{INFO}?scope=extended", "Basic bWU6cGE6c3M=")] * 2


def test_loopback_is_called_without_the_sites_proxy(dpat: LittleDpat, proxy: Proxy) -> None:
    assert client_at(dpat.url, proxy.address).slide_info("S-1").id == "S-1"
    assert client_at(dpat.url.replace("127.0.0.1", "localhost"), proxy.address).slide_info("S-1").id == "S-1"
    assert proxy.asked == []


def test_an_unreachable_proxy_is_named_without_its_password() -> None:
    address = f"127.0.0.1:{dead_port()}"
    for scheme in ("http", "https"):
        with pytest.raises(DpatNotReached) as caught:
            client_at(f"{scheme}://dpat.invalid{BASE}", f"http://me:secret@{address}").slide_info("S-1")
        assert str(caught.value) == f"The proxy http://{address} (SLIDEHOOK_DPAT_PROXY) can't be reached."


@pytest.mark.parametrize(("status", "end"), [(403, "it answered 403."), (407, "it answered 407 (user or password).")])
def test_a_proxy_that_blocks_tls_is_named(proxy: Proxy, status: int, end: str) -> None:
    proxy.status = status
    with pytest.raises(DpatNotReached) as caught:
        client_at(f"https://dpat.invalid{BASE}", proxy.address.replace("//", "//me:secret@")).slide_info("S-1")
    sentence = f"The proxy {proxy.address} (SLIDEHOOK_DPAT_PROXY) lets no call through to DPAT: {end}"
    assert str(caught.value) == sentence


def test_a_page_of_the_sites_proxy_names_it_without_its_password(proxy: Proxy) -> None:
    proxy.status, proxy.body, proxy.headers = 403, b"<html>Blocked by \x1b[31mYOU", {"Content-Type": "text/html"}
    with pytest.raises(NotFromDpat) as caught:
        client_at(DPAT + BASE, proxy.address.replace("//", "//me:secret@")).slide_info("S-1")
    where = f"at or behind {proxy.address} (SLIDEHOOK_DPAT_PROXY)"
    assert str(caught.value) == f"A proxy {where} answered 403 in DPAT's place to GET /slides/S-1/info."


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (401, PAGE),
        (403, PAGE),
        (403, {"Content-Type": "TEXT/HTML", "X-Sectra-ApiVersion": "1.10"}),
        (403, {**PAGE, "Content-Type": "application/xhtml+xml"}),
        (401, {**PAGE, "WWW-Authenticate": 'Basic realm="hospital"'}),
        (404, PAGE),
        (407, {"Content-Type": "application/json"}),
        (403, {"X-Sectra-ApiVersion": None, "Content-Type": "text/plain", "Server": "squid/5.7"}),
        (403, {"X-Sectra-ApiVersion": None, "Via": "1.1 gate (something)"}),
        (401, {"X-Sectra-ApiVersion": None, "Proxy-Authenticate": "Negotiate"}),
        (403, {"X-Sectra-ApiVersion": None, "X-Squid-Error": "ERR_ACCESS_DENIED 0"}),
        (503, {**PAGE, "X-Squid-Error": "ERR_CONNECT_FAIL 111"}),
        (504, {**PAGE, "Via": "1.1 gate"}),
    ],
)
def test_a_proxys_refusal_does_not_concern_token_or_slide(
    dpat: LittleDpat, status: int, headers: dict[str, str | None]
) -> None:
    dpat.answer("GET", INFO, Reply(status, b"<html>no", headers))
    source = Tokens()
    settings = Settings(_env_file=None)
    with pytest.raises(NotFromDpat, match=f"^A proxy.* answered {status} in DPAT's place to GET {INFO}") as caught:
        DpatServer(dpat.url, settings).client(source).slide_info("S-1")
    assert dpat.url.removesuffix(BASE) in str(caught.value)
    assert isinstance(caught.value, DpatUnavailable)
    assert source.refused == []


class Tokens(Secrets):
    """Returns one token, and records the refused ones."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    def secret(self) -> str:
        return "first"

    def instead_of(self, refused: str) -> str | None:
        self.refused.append(refused)
        return "second" if len(self.refused) == 1 else None


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Sectra-ApiVersion": None},
        {"Via": "1.1 gate"},
        {"Content-Type": "application/json", "X-Sectra-ApiVersion": None, "Via": "1.1 gate", "Server": "squid"},
        {"Content-Type": "application/problem+json", "X-Sectra-ApiVersion": None, "Via": "1.1 gate"},
        {**PAGE, "WWW-Authenticate": 'Bearer error="invalid_token"'},
    ],
)
def test_dpats_own_refusal_concerns_the_token_even_behind_a_proxy(
    dpat: LittleDpat, status: int, headers: dict[str, str | None]
) -> None:
    dpat.answer("GET", INFO, Reply(status, {"message": "no"}, headers))
    source = Tokens()
    with pytest.raises(TokenExpired):
        DpatServer(dpat.url, Settings(_env_file=None)).client(source).slide_info("S-1")
    assert source.refused == ["first", "second"]


def test_fetching_the_accounts_token_is_retried_after_a_proxys_refusal(dpat: LittleDpat) -> None:
    dpat.answer("POST", "/token", Reply(403, b"<html>", PAGE))
    server = DpatServer(dpat.url, Settings(_env_file=None))
    with pytest.raises(NotFromDpat):
        server.fetch_token("user", "word", "app", tries=2, sleep=lambda _: None)
    assert len(dpat.made("POST")) == 2
    dpat.answer("POST", "/token", Reply(403, {}))
    with pytest.raises(DpatRefused):
        server.fetch_token("user", "word", "app", tries=2, sleep=lambda _: None)


def test_a_404_of_dpat_itself_means_not_found(dpat: LittleDpat) -> None:
    dpat.answer("GET", INFO, Reply(404, b"<html>", {"Content-Type": "text/html"}))
    with pytest.raises(NotFound):
        client_at(dpat.url).slide_info("S-1")


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("headers", [{}, PAGE, {"Via": "1.1 gate"}, {**PAGE, "Content-Type": "application/json"}])
def test_a_5xx_without_a_proxys_marks_counts_as_dpats(
    dpat: LittleDpat, status: int, headers: dict[str, str | None]
) -> None:
    dpat.answer("GET", INFO, Reply(status, b"{}", headers))
    with pytest.raises(DpatUnavailable, match=f"^DPAT answered {status} to GET"):
        client_at(dpat.url).slide_info("S-1")


def test_a_proxys_retry_after_is_respected(dpat: LittleDpat) -> None:
    dpat.answer("GET", INFO, Reply(503, b"<html>", {**PAGE, "Server": "squid", "Retry-After": "7"}))
    with pytest.raises(NotFromDpat) as caught:
        client_at(dpat.url).slide_info("S-1")
    assert caught.value.retry_after_s == 7.0


def test_a_proxys_product_is_named_in_our_words(dpat: LittleDpat) -> None:
    dpat.answer("GET", INFO, Reply(403, b"", {**PAGE, "Server": "squid/\x1b[31mJOHN DOE"}))
    with pytest.raises(
        NotFromDpat, match=r"^A proxy \(Squid\) between here and http://127\.0\.0\.1:\d+ answered 403"
    ):
        client_at(dpat.url).slide_info("S-1")


@pytest.mark.parametrize(
    "wrong",
    ["proxy:3128", "socks5://proxy:1080", "http://", "http://proxy:banana", "http://a b", "http://p/x", "http://p?x"],
)
def test_an_invalid_proxy_setting_is_refused(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("SLIDEHOOK_DPAT_PROXY", wrong)
    with pytest.raises(SettingsInvalid, match=r"^SLIDEHOOK_DPAT_PROXY: .*http://proxy\.example\.org:3128"):
        read_settings()


def test_the_proxys_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDEHOOK_DPAT_PROXY", "socks5://me:secret@proxy:3128")
    with pytest.raises(SettingsInvalid) as caught:
        read_settings()
    assert "secret" not in str(caught.value)
    settings = Settings(_env_file=None, dpat_proxy="http://me:secret@proxy:3128/")
    assert "secret" not in repr(settings)
