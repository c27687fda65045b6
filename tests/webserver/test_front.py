from __future__ import annotations

import io
import shutil
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from slidehook.results.limits import MIB, PLAIN_BODY_BYTES, most_body_bytes
from slidehook.version import SOFTWARE_VERSION
from tests.webserver.site import Site, TissueArea

ROUTE = "/apps/tissue-area"
MOST_BYTES = {ROUTE: most_body_bytes(TissueArea.most_record_bytes()), f"{ROUTE}/imagenotification": PLAIN_BODY_BYTES}


def test_the_registration_contains_all_that_dpat_needs(site: Site) -> None:
    answer = site.web.get(ROUTE, headers={"Host": "analysis.hospital:5006"})
    assert answer.status_code == 200
    assert answer.json == {
        "applicationId": "tissue-area",
        "displayName": "Tissue area",
        "manufacturer": "A laboratory",
        "url": "http://analysis.hospital:5006/apps/tissue-area",
        "inputTemplate": {"type": "wholeSlide"},
        "context": {},
    }


def test_the_registration_states_the_apps_input(site: Site) -> None:
    tagged, areas = site.web.get("/apps/tagged").json, site.web.get("/apps/areas").json
    assert tagged is not None
    assert tagged["inputTemplate"] == {"type": "taggedPolygon", "content": {"tags": ["tumour", "stroma"]}}
    assert areas is not None
    assert areas["inputTemplate"] == {"type": "multiArea"}


@pytest.mark.parametrize(
    ("hops", "url"), [(0, "http://inside:5006/apps/tissue-area"), (1, "https://outside.hospital/apps/tissue-area")]
)
def test_a_forwarded_host_is_trusted_only_from_a_trusted_proxy(
    make_site: Callable[..., Site], hops: int, url: str
) -> None:
    site = make_site(trusted_proxies=hops)
    forwarded = {"Host": "inside:5006", "X-Forwarded-Host": "outside.hospital", "X-Forwarded-Proto": "https"}
    answer = site.web.get(ROUTE, headers=forwarded).json
    assert answer is not None
    assert answer["url"] == url


def test_of_more_forwarded_hosts_than_proxies_the_last_is_used(make_site: Callable[..., Site]) -> None:
    site = make_site(trusted_proxies=1)
    answer = site.web.get(ROUTE, headers={"Host": "inside", "X-Forwarded-Host": "evil, outside"}).json
    assert answer is not None
    assert answer["url"] == "http://outside/apps/tissue-area"


@pytest.mark.parametrize(
    "host",
    ["dpat_analysis:5006", "analysis", "Analysis.Hospital.:80", "192.0.2.7:5006", "[2001:db8::7]:5006", "[::1]", "_"],
)
def test_the_registered_url_is_the_one_that_its_caller_used(site: Site, host: str) -> None:
    answer = site.web.get(ROUTE, headers={"Host": host})
    assert (answer.status_code, (answer.json or {})["url"]) == (200, f"http://{host}{ROUTE}")
    listed = site.web.get("/", headers={"Host": host, "Accept": "application/json"})
    assert {each["url"] for each in (listed.json or {})["apps"]} >= {f"http://{host}{ROUTE}"}


NO_HOSTS = ["", "a b", "user@host", "host/path", "host?", "host:port", "host:0", "host:65536", "a..b", ".", "[::1"]
NO_HOSTS += ["::1", "h\u00f6st", "<b>", "a,b", "x" * 64, "x." * 127 + "x"]


@pytest.mark.parametrize("host", NO_HOSTS)
def test_an_invalid_host_is_refused_where_it_would_be_echoed(site: Site, host: str) -> None:
    for path in (ROUTE, "/"):
        answer = site.web.get(path, headers={"Host": host}, environ_overrides={"HTTP_HOST": host})
        assert answer.status_code == 400
        assert "has no valid host" in answer.text
        assert len(host) <= 1 or host not in (answer.json or {})["error"]


def test_an_invalid_forwarded_host_is_refused_as_well(make_site: Callable[..., Site]) -> None:
    site = make_site(trusted_proxies=1)
    answer = site.web.get(ROUTE, headers={"Host": "inside", "X-Forwarded-Host": "out side"})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("written", "path"),
    [
        (f"{ROUTE}/", ROUTE),
        (f"{ROUTE}//", ROUTE),
        (f"/{ROUTE}", ROUTE),
        (f"{ROUTE}/info/", f"{ROUTE}/info"),
        (f"{ROUTE}//info", f"{ROUTE}/info"),
        ("/healthz/", "/healthz"),
        ("//openapi.json", "/openapi.json"),
        ("//", "/"),
    ],
)
def test_an_extra_slash_changes_no_answer(site: Site, written: str, path: str) -> None:
    given = {"base_url": "http://analysis", "environ_overrides": {"PATH_INFO": written, "RAW_URI": written}}
    answer = site.web.get("/", **given)
    assert (answer.status_code, answer.json) == (200, site.web.get(path, base_url="http://analysis").json)


@pytest.mark.parametrize("doubled", ["/", "//imagenotification", "/imagenotification/"])
def test_a_post_with_an_extra_slash_does_the_same(site: Site, doubled: str) -> None:
    if "image" in doubled:
        old = {"action": ..., "input": ..., "imageInfo": {"id": "S-1", **site.dpat.record}}
        answer = site.post(ROUTE + doubled, **old)
    else:
        answer = site.post(ROUTE + doubled)
    assert answer.status_code == 200
    assert len(site.jobs()) == 1


@pytest.mark.parametrize(
    "written", [f"{ROUTE}%2F", f"{ROUTE}%2finfo", "/apps%2Ftissue-area", f"{ROUTE}%2F%2Finfo?a=b"]
)
def test_an_encoded_slash_is_no_slash(site: Site, written: str) -> None:
    assert site.web.get(written).status_code == 404


def test_an_encoded_slash_in_the_query_is_allowed(site: Site) -> None:
    assert site.web.get(f"{ROUTE}/info?from=%2Fpage").status_code == 200


def test_info_returns_both_versions(site: Site) -> None:
    assert site.web.get(f"{ROUTE}/info").json == {"apiVersion": "1.10", "softwareVersion": SOFTWARE_VERSION}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/", b"", 200),
        ("GET", "/healthz", b"", 200),
        ("GET", ROUTE, b"", 200),
        ("GET", f"{ROUTE}/info", b"", 200),
        ("GET", "/nothing", b"", 404),
        ("GET", "/apps/no-such-app", b"", 404),
        ("DELETE", ROUTE, b"", 405),
        ("POST", ROUTE, b"{", 400),
        ("POST", f"{ROUTE}/imagenotification", b"{}", 400),
        ("POST", ROUTE, b" " * (MOST_BYTES[ROUTE] + 1), 413),
    ],
)
def test_every_answer_has_both_version_headers_and_an_error_one_sentence(
    site: Site, method: str, path: str, body: bytes, status: int
) -> None:
    answer = site.web.open(path, method=method, data=body)
    assert answer.status_code == status
    assert answer.headers["X-Sectra-ApiVersion"] == "1.10"
    assert answer.headers["X-Sectra-SoftwareVersion"] == SOFTWARE_VERSION
    if status >= 400:
        assert answer.json is not None
        assert list(answer.json) == ["error"]
        assert answer.json["error"].endswith(".")


def test_the_first_page_lists_the_apps_for_programs(site: Site) -> None:
    page = site.web.get("/", headers={"Host": "h"}).json
    assert page is not None
    assert page["apps"][0] == {
        "id": "tissue-area",
        "name": "Tissue area",
        "version": "2.1",
        "input": "wholeSlide",
        "url": "http://h/apps/tissue-area",
    }
    assert [app["id"] for app in page["apps"]] == ["tissue-area", "tagged", "areas"]
    assert page["broken"] == [{"entryPoint": "theirs:App", "reason": "ImportError: no <module>"}]


def test_the_first_page_lists_the_apps_for_people(site: Site) -> None:
    answer = site.web.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert answer.content_type.startswith("text/html")
    assert "http://localhost/apps/tissue-area" in answer.text
    assert "ImportError: no &lt;module&gt;" in answer.text


def test_the_first_page_shows_a_hostile_host_as_text(site: Site) -> None:
    answer = site.web.get("/", headers={"Accept": "text/html", "Host": 'x"><script>alert(1)</script>'})
    assert "<script>" not in answer.text


def test_health_is_ok_while_the_queue_can_be_written(site: Site) -> None:
    answer = site.web.get("/healthz")
    assert answer.status_code == 200
    assert answer.json == {"status": "ok"}


def test_health_fails_when_the_queue_is_gone(site: Site) -> None:
    shutil.rmtree(site.queue.layout.root)
    answer = site.web.get("/healthz")
    assert answer.status_code == 503
    assert "SLIDEHOOK_QUEUE_DIR: no job can be put into" in answer.text


@pytest.mark.parametrize("path", MOST_BYTES)
def test_a_body_that_is_too_large_is_refused_even_without_a_length(site: Site, path: str) -> None:
    body = b'{"context": {"a": "' + b"x" * MOST_BYTES[path] + b'"}}'
    refused = site.web.post(path, data=body)
    assert (refused.status_code, refused.json) == (
        413,
        {"error": f"The body is larger than {MOST_BYTES[path] // MIB} MiB."},
    )
    # As gunicorn passes on a chunked body.
    chunked = site.web.post(
        path, input_stream=io.BytesIO(body), environ_overrides={"wsgi.input_terminated": True}, content_length=None
    )
    assert chunked.status_code == 413
    padded = b"{}" + b" " * (MOST_BYTES[path] - 1)  # only the first bytes are JSON
    for size, status in ((len(padded), 413), (len(padded) - 1, 400)):
        stream = io.BytesIO(padded[:size])
        answer = site.web.post(
            path, input_stream=stream, environ_overrides={"wsgi.input_terminated": True}, content_length=None
        )
        assert answer.status_code == status
    assert not site.files()
    assert not site.dpat.calls


def test_an_internal_error_is_a_500_without_details_and_is_logged(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def faulty(_: object) -> None:
        raise ZeroDivisionError("a secret detail")

    monkeypatch.setattr("webserver.routes.parse_invocation", faulty)
    with capture_logs() as logged:
        answer = site.post()
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert [type(each["exc_info"]) for each in logged] == [ZeroDivisionError]


@pytest.mark.parametrize(
    ("callers", "answered"),
    [
        ("1.5", "1.5"),
        ("1.9", "1.9"),
        ("1.10", "1.10"),
        ("1.11", "1.10"),
        ("2.0", "1.10"),
        ("new", "1.10"),
        ("1.²", "1.10"),
    ],
)
@pytest.mark.parametrize("path", [ROUTE, f"{ROUTE}/info", "/nothing"])
def test_an_answer_states_the_lower_of_our_version_and_the_callers(
    site: Site, path: str, callers: str, answered: str
) -> None:
    answer = site.web.get(path, headers={"X-Sectra-ApiVersion": callers})
    assert answer.headers["X-Sectra-ApiVersion"] == answered
    if path.endswith("/info"):
        assert answer.json == {"apiVersion": answered, "softwareVersion": SOFTWARE_VERSION}


@pytest.mark.parametrize(("callers", "spoken"), [("1.8", "1.8"), ("1.11", "1.10"), (None, "1.5")])
def test_calls_to_dpat_state_the_version_of_its_request(site: Site, callers: str | None, spoken: str) -> None:
    headers = {} if callers is None else {"X-Sectra-ApiVersion": callers}
    site.web.post(ROUTE, json=site.body(), headers=headers)
    assert [call.headers["X-Sectra-ApiVersion"] for call in site.dpat.calls] == [spoken, "1.10", "1.10"]
