"""Only the configured DPATs are ever called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.iaapi.little_dpat import LittleDpat, Reply
from tests.webserver.site import Site
from tests.webserver.test_fuzz import CALLS

NAMED = "https://dpat.example/SectraPathologyServer"
TRICKS = [
    "https://dpat.evil/SectraPathologyServer",
    "https://dpat.example.evil/SectraPathologyServer",
    "https://dpat.example@evil/SectraPathologyServer",
    "https://user:password@dpat.example/SectraPathologyServer",
    "https://evil\\@dpat.example/SectraPathologyServer",
    "https://dpat.example\\evil/SectraPathologyServer",
    "https://dpat.example/SectraPathologyServer/../admin",
    "https://dpat.example/SectraPathologyServer/%2e%2e/admin",
    "https://dpat.example/SectraPathologyServer%2f..%2fadmin",
    "https://dpat.example/SectraPathologyServer%2fv1",
    "https://dpat.example./SectraPathologyServer",
    "https://dp\u0430t.example/SectraPathologyServer",
    "https://dpat.example:8443/SectraPathologyServer",
    "http://dpat.example/SectraPathologyServer",
    "https://dpat.example/SECTRAPATHOLOGYSERVER",
    "https://dpat.example/SectraPathologyServerEvil",
    "http://127.0.0.1/SectraPathologyServer",
    "file:///etc/passwd",
    "dpat.example/SectraPathologyServer",
]


@pytest.mark.parametrize("url", TRICKS)
@pytest.mark.parametrize("kind", ["create", "modify", "delete", "cancel", "notification"])
def test_a_callback_url_elsewhere_is_forbidden_for_every_request(
    make_site: Callable[..., Site], kind: str, url: str
) -> None:
    site = make_site(dpat_urls=NAMED)
    path, changes = CALLS[kind]
    answer = site.post(path, **changes, callbackInfo={"url": url, "token": "the-secret-token"})
    assert answer.status_code == 403
    assert "callback URL" in answer.text
    assert "the-secret-token" not in answer.text
    assert not site.files()


def test_a_refused_callback_url_is_logged_without_secrets(
    make_site: Callable[..., Site], capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_site(dpat_urls=NAMED)
    path, changes = CALLS["create"]
    url = "https://us:geheim@dpat.example/OtherServer?key=geheim"
    assert site.post(path, **changes, callbackInfo={"url": url, "token": "geheim"}).status_code == 403
    logged = capsys.readouterr()
    assert "https://…@dpat.example/OtherServer" in logged.out + logged.err
    assert "geheim" not in logged.out + logged.err


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("kind", "call"),
    [
        ("create", ("GET", "/slides/S-1/info")),
        ("create", ("GET", "/applications/tissue-area/results/slide/S-1")),
        ("create", ("POST", "/applications/tissue-area/results")),
        ("modify", ("GET", "/applications/tissue-area/results/1")),
    ],
)
def test_a_redirect_is_not_followed(site: Site, kind: str, call: tuple[str, str], status: int) -> None:
    path, changes = CALLS[kind]
    with LittleDpat() as other:
        moved: dict[str, Any] = {"Location": other.url + call[1]}
        site.dpat.answer(*call, Reply(status, headers=moved))
        answer = site.post(path, **changes)
        assert answer.status_code == 502
        assert "redirect" in answer.text
        assert other.url not in answer.text
        assert not other.calls
    assert not site.dpat.results
