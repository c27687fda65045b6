from __future__ import annotations

from urllib.parse import urlsplit

import pytest
import requests
import urllib3

from slidehook.callback_urls import check_callback
from slidehook.errors import CallbackNotAllowed

SITE = ("https://dpat.example/SectraPathologyServer/external",)


@pytest.mark.parametrize(
    ("url", "called"),
    [
        ("http://127.0.0.1:5000/v1", "http://127.0.0.1:5000/v1"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("https://localhost/v1", "https://localhost/v1"),
        ("http://[::1]:80/v1", "http://[::1]/v1"),
        ("http://LOCALHOST/", "http://localhost"),
    ],
)
def test_without_prefixes_loopback_is_allowed(url: str, called: str) -> None:
    assert check_callback(url, ()) == called


@pytest.mark.parametrize(
    "url",
    [
        "http://dpat.example/v1",
        "http://localhost.evil/v1",
        "http://127.0.0.1.evil/v1",
        "http://0.0.0.0/v1",
        "http://2130706433/v1",
        "http://[::]/v1",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1@evil/v1",
        "http://evil#127.0.0.1",
        "http://localhost./v1",
        "http://127.0.0.1./v1",
        "http://\u2460\u2461\u2466.0.0.1/v1",
        "http://localhos\u1d57/v1",
        "http://127.0.0.1\\@evil/v1",
        "http://127.0.0.1:80@evil:80/v1",
    ],
)
def test_without_prefixes_only_loopback_is_allowed(url: str) -> None:
    with pytest.raises(CallbackNotAllowed):
        check_callback(url, ())


@pytest.mark.parametrize(
    "url",
    [
        "https://dpat.example/SectraPathologyServer/external",
        "https://dpat.example/SectraPathologyServer/external/",
        "https://dpat.example/SectraPathologyServer/external/imageanalysis/v1",
        "https://dpat.example/SectraPathologyServer/external/%C3%A4%20b/v1",
        "https://dpat.example/SectraPathologyServer/external/a;b=c/v1",
    ],
)
def test_a_url_below_a_prefix_is_allowed(url: str) -> None:
    assert check_callback(url, SITE) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "https://dpat.example:443/SectraPathologyServer/external/v1",
        "https://dpat.example:/SectraPathologyServer/external/v1",
        "https://dpat.example:0443/SectraPathologyServer/external/v1",
        "HTTPS://DPAT.Example/SectraPathologyServer/external/v1",
        "https://dpat.example/SectraPathologyServer//external/./v1",
        "https://dpat.example//SectraPathologyServer/external/v1/.//",
        "https://dpat.example/%53ectra%50athology%53erver/external/v1",
    ],
)
def test_equivalent_urls_are_normalized_to_one(url: str) -> None:
    assert check_callback(url, SITE) == "https://dpat.example/SectraPathologyServer/external/v1"


@pytest.mark.parametrize(
    ("path", "called"),
    [
        ("/%c3%a4", "/%C3%A4"),
        ("/\u00e4", "/%C3%A4"),
        ("/a%3bb", "/a%3Bb"),
        ("/a;b", "/a;b"),
        ("/a%3fb", "/a%3Fb"),
        ("/%7Ea", "/~a"),
        ("/%FF", "/%FF"),
        ("/\ud800", "/%3F"),
    ],
)
def test_urls_that_a_server_may_distinguish_stay_distinct(path: str, called: str) -> None:
    spelled = check_callback(f"http://127.0.0.1:1{path}", ())
    assert spelled == f"http://127.0.0.1:1{called}"
    assert check_callback(spelled, ()) == spelled


@pytest.mark.parametrize(
    "url",
    [
        "http://dpat.example/SectraPathologyServer/external/v1",
        "https://dpat.example:8443/SectraPathologyServer/external/v1",
        "https://dpat.example:0/SectraPathologyServer/external/v1",
        "https://dpat.example/SectraPathologyServer/externalities",
        "https://dpat.example/sectrapathologyserver/external",
        "https://dpat.example/",
        "https://dpat.example.evil/SectraPathologyServer/external",
        "https://dpat.evil/SectraPathologyServer/external",
        "https://dpat@evil/SectraPathologyServer/external",
        "https://dpat.example./SectraPathologyServer/external",
        "https://dpat.example../SectraPathologyServer/external",
        "https://.dpat.example/SectraPathologyServer/external",
        "https://dpat.example,evil/SectraPathologyServer/external",
        "https://dpat.example;evil/SectraPathologyServer/external",
        "https://dpat.example&@evil/SectraPathologyServer/external",
        "https://evil?@dpat.example/SectraPathologyServer/external",
        "https://evil/https://dpat.example/SectraPathologyServer/external",
        "https://dpat.example:443:443/SectraPathologyServer/external",
        "https://dpat.example:-443/SectraPathologyServer/external",
        "https:/dpat.example/SectraPathologyServer/external",
        "https:///dpat.example/SectraPathologyServer/external",
        "https:dpat.example/SectraPathologyServer/external",
        "https:\\\\dpat.example\\SectraPathologyServer\\external",
        "https://dpat.example/SECTRAPATHOLOGYSERVER/EXTERNAL",
        "https://dpat.example@evil/SectraPathologyServer/external",
        "https://user@dpat.example/SectraPathologyServer/external",
        "https://:@dpat.example/SectraPathologyServer/external",
        "https://evil\\@dpat.example/SectraPathologyServer/external",
        "https://dpat.example\\.evil/SectraPathologyServer/external",
        "https://dpat.example%2eevil/SectraPathologyServer/external",
        "https://\uff44pat.example/SectraPathologyServer/external",
        "https://dpat\u3002example/SectraPathologyServer/external",
        "https://dp\u0430t.example/SectraPathologyServer/external",
        "https://xn--dpt-7cd.example/SectraPathologyServer/external",
        "https://dpat.exam\u00adple/SectraPathologyServer/external",
        "https://dpat.example\u2025evil/SectraPathologyServer/external",
        "https://dpat.example\u2100evil/SectraPathologyServer/external",
        "https://dpat.example/SectraPathologyServer/external/../admin",
        "https://dpat.example/SectraPathologyServer/external/%2e%2e/admin",
        "https://dpat.example/SectraPathologyServer/external/.%2E/admin",
        "https://dpat.example/SectraPathologyServer/external%2f..%2fadmin",
        "https://dpat.example/SectraPathologyServer/external/..%5cadmin",
        "https://dpat.example/SectraPathologyServer/external/%2e%2e%2fadmin",
        "https://dpat.example/SectraPathologyServer/external/%252e%252e/admin",
        "https://dpat.example/SectraPathologyServer/external/..;/admin",
        "https://dpat.example/SectraPathologyServer/external/..;a=b/admin",
        "https://dpat.example/SectraPathologyServer%2fexternal",
        "https://dpat.example/SectraPathologyServer/external%2fv1",
        "https://dpat.example/SectraPathologyServer/external%00/v1",
        "https://dpat.example/SectraPathologyServer/external%0d%0aX-Evil:1",
        "https://dpat.example/../SectraPathologyServer/external",
        "https://dpat.example/SectraPathologyServer/x/../external",
        "https://dpat.example/SectraPathologyServer/external/..",
        "https://dpat.example/SectraPathologyServer/external?",
        "https://dpat.example/SectraPathologyServer/external#",
        "https://dpat.example/SectraPathologyServer/external?to=evil",
        "https://dpat.example/SectraPathologyServer/external#evil",
        "https://dpat.example/SectraPathologyServer/external/\r\nX-Evil: 1",
        "https://dpat.example/SectraPathologyServer/external/ x",
        "\thttps://dpat.example/SectraPathologyServer/external",
        "//dpat.example/SectraPathologyServer/external",
        "ftp://dpat.example/SectraPathologyServer/external",
        "file:///etc/passwd",
        "https://",
        "https://[::1/v1",
        "https://dpat.example:port/",
        "https://dpat.example:99999/",
        "",
        "\x00",
    ],
)
def test_a_url_that_only_seems_to_be_below_a_prefix_is_refused(url: str) -> None:
    with pytest.raises(CallbackNotAllowed) as caught:
        check_callback(url, SITE)
    assert not url or url not in str(caught.value)


def test_with_prefixes_loopback_is_refused_like_any_other() -> None:
    with pytest.raises(CallbackNotAllowed):
        check_callback("http://127.0.0.1/v1", SITE)


def test_a_prefix_of_a_whole_server_allows_all_its_paths_on_its_port_only() -> None:
    assert check_callback("http://dpat:8080/any/path", ("http://dpat:8080/",))
    with pytest.raises(CallbackNotAllowed):
        check_callback("http://dpat:80/any/path", ("http://dpat:8080/",))
    with pytest.raises(CallbackNotAllowed):
        check_callback("http://dpat:8080/any/path", ("http://dpat/",))


def test_a_match_with_one_of_several_prefixes_is_enough() -> None:
    assert check_callback("https://b/v1", ("https://a", "https://b"))


@pytest.mark.parametrize("host", ["[2001:db8::1]", "[2001:DB8::1]"])
def test_an_ipv6_address_is_compared_as_a_whole(host: str) -> None:
    prefixes = ("https://[2001:db8::1]/v1",)
    assert check_callback(f"https://{host}/v1", prefixes)
    with pytest.raises(CallbackNotAllowed):
        check_callback("https://[2001:db8::11]/v1", prefixes)
    with pytest.raises(CallbackNotAllowed):
        check_callback("https://[2001:db8::1%25eth0]/v1", prefixes)


def test_the_client_calls_the_host_that_was_checked() -> None:
    """The check parses a URL with the standard library, the client with urllib3; both must find the same host."""
    for url in ("https://dpat.example/v1", "HTTPS://DPAT.Example:443//a/./v1", "https://[2001:DB8::1]/v1"):
        called = requests.Request("GET", check_callback(url, (url,)) + "/slides/1/info").prepare().url or ""
        read = urllib3.util.parse_url(called)
        assert (read.scheme, read.host) == ("https", (urlsplit(url).netloc.lower().removesuffix(":443")))
        assert (read.path or "").endswith("/v1/slides/1/info")


@pytest.mark.parametrize(
    ("url", "logged"),
    [
        ("https://dpat.example:8443/v1", "https://dpat.example:8443/v1"),
        ("https://us:s3cret@dpat.example/v1", "https://…@dpat.example/v1"),
        ("https://us:s3/cr?et#@dpat.example/v1", "https://…@dpat.example/v1"),
        ("https:\\\\us:s3cret@dpat.example/v1", "https://…@dpat.example/v1"),
        ("https://dpat.example/v1?token=s3cret#s3cret", "https://dpat.example/v1?…"),
        ("https://dpat.example/\x1b[31m\n\u202e", "https://dpat.example/\\x1b[31m\\n\\u202e"),
        ("x" * 1000, "x" * 300 + "…"),
    ],
)
def test_a_refused_url_is_logged_without_secrets_and_control_characters(url: str, logged: str) -> None:
    with pytest.raises(CallbackNotAllowed) as caught:
        check_callback(url, ("https://other.example",))
    assert caught.value.url == logged
