"""Requests that can't be served: one clear sentence for whoever asked, and nothing queued behind it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.e2e.conftest import ROUTE, Dpat, Site
from tests.e2e.running import free_port, traces

V1 = "/SectraPathologyServer/external/imageanalysis/v1"


def sentence(answer: requests.Response) -> str:
    """Return what an answer says is wrong: one sentence, and nothing else."""
    content = answer.json()
    assert list(content) == ["error"]
    text: str = content["error"]
    assert text.endswith(".")
    assert 10 < len(text) < 250
    assert "\n" not in text
    assert ". " not in text
    assert answer.headers["X-Sectra-ApiVersion"]
    return text


def assert_nothing_is_queued(site: Site, slide_id: str) -> None:
    assert traces(site.queue, slide_id) == {}


def test_a_dpat_that_cannot_be_reached_is_a_bad_gateway(quiet_dpat: Dpat, quiet_site: Site) -> None:
    slide_id = quiet_dpat.add_slide()
    callback = {"url": f"http://127.0.0.1:{free_port()}{V1}", "token": quiet_dpat.token()}
    answer = quiet_site.post(quiet_dpat.body(slide_id, callbackInfo=callback))
    assert answer.status_code == 502
    assert "DPAT" in sentence(answer)
    assert_nothing_is_queued(quiet_site, slide_id)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 503])
@pytest.mark.parametrize("path", [r"/info$", r"/results$"], ids=["image record", "new result"])
def test_a_dpat_that_refuses_is_a_bad_gateway(quiet_dpat: Dpat, quiet_site: Site, path: str, status: int) -> None:
    slide_id = quiet_dpat.add_slide()
    quiet_dpat.add_fault(path, "status", status=status, count=10)
    answer = quiet_site.post(quiet_dpat.body(slide_id))
    assert answer.status_code == 502
    assert str(status) in sentence(answer)
    assert quiet_dpat.results() == []
    if status >= 500 and "results" in path:
        # It may have stored "queued" before it failed: a worker must bring that result to an end.
        assert len(quiet_site.jobs(slide_id)) == 1
    else:
        assert_nothing_is_queued(quiet_site, slide_id)


def test_a_refused_request_may_be_made_again(quiet_dpat: Dpat, quiet_site: Site) -> None:
    slide_id = quiet_dpat.add_slide()
    quiet_dpat.add_fault("/results$", "status", method="POST", status=503, count=3)
    assert quiet_dpat.create(slide_id).status == 502
    assert quiet_dpat.create(slide_id).ok
    assert len(quiet_site.jobs(slide_id)) == 1


@pytest.mark.parametrize("path", ["", "/imagenotification"])
@pytest.mark.parametrize(
    "url",
    [
        f"http://192.0.2.1{V1}",
        f"https://dpat.example.org{V1}",
        f"http://127.0.0.1@192.0.2.1{V1}",
        "file:///etc/hosts",
    ],
)
def test_a_callback_to_another_host_is_forbidden_by_default(
    quiet_dpat: Dpat, quiet_site: Site, url: str, path: str
) -> None:
    slide_id = quiet_dpat.add_slide()
    body = quiet_dpat.body(slide_id, callbackInfo={"url": url, "token": quiet_dpat.token()})
    if path:
        body |= {"action": "newImageFiles", "imageInfo": quiet_dpat.image_record(slide_id)}
    answer = quiet_site.post(body, path)
    assert answer.status_code == 403
    assert "callback URL" in sentence(answer)
    assert_nothing_is_queued(quiet_site, slide_id)


def test_a_callback_that_the_site_did_not_name_is_never_called(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site(dpat_urls="https://dpat.example.org, http://127.0.0.1:1/SectraPathologyServer")
    site.start_web()
    dpat = new_dpat(site)
    slide_id = dpat.add_slide()
    assert dpat.create(slide_id).status == 403
    assert [each.status for each in dpat.notify(slide_id)] == [403]
    assert dpat.calls() == []
    assert_nothing_is_queued(site, slide_id)


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda body: {key: value for key, value in body.items() if key != name}


def having(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda body: body | changes


@pytest.mark.parametrize("path", ["", "/imagenotification"])
@pytest.mark.parametrize(
    "spoil",
    [
        without("slideId"),
        without("applicationId"),
        without("callbackInfo"),
        having(slideId=""),
        having(slideId=7),
        having(slideId="S" * 513),
        having(applicationId="another-app"),
        having(callbackInfo={"url": "http://127.0.0.1:1"}),
        having(callbackInfo={"token": "T"}),
        having(action="explode"),
        having(input={"type": "freehand"}),
        having(input={"type": "multiArea", "content": {"polygons": []}}),
        lambda body: [body],
        lambda _: None,
    ],
)
def test_a_wrong_body_is_told_what_is_wrong_and_queues_nothing(
    quiet_dpat: Dpat, quiet_site: Site, spoil: Callable[[dict[str, Any]], Any], path: str
) -> None:
    slide_id = quiet_dpat.add_slide()
    body = quiet_dpat.body(slide_id)
    if path:
        body |= {"action": "newImageFiles", "imageInfo": quiet_dpat.image_record(slide_id)}
    answer = quiet_site.post(spoil(body), path)
    assert answer.status_code == 400
    text = sentence(answer)
    assert body["callbackInfo"]["token"] not in text
    assert quiet_dpat.calls() == []
    assert_nothing_is_queued(quiet_site, slide_id)


@pytest.mark.parametrize("path", ["", "/imagenotification"])
@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"slideId": NaN}'])
def test_a_body_that_is_not_json_is_refused(quiet_site: Site, raw: bytes, path: str) -> None:
    answer = quiet_site.post(None, path, raw=raw)
    assert answer.status_code == 400
    sentence(answer)


def test_a_huge_body_is_refused(quiet_dpat: Dpat, quiet_site: Site) -> None:
    slide_id = quiet_dpat.add_slide()
    answer = quiet_site.post(quiet_dpat.body(slide_id, context={"much": "x" * 2_000_000}))
    assert answer.status_code == 413
    sentence(answer)
    assert_nothing_is_queued(quiet_site, slide_id)


def test_a_slide_id_that_looks_like_a_path_leads_nowhere(quiet_dpat: Dpat, quiet_site: Site) -> None:
    answer = quiet_site.post(quiet_dpat.body("../../../../sim/slides"))
    assert answer.status_code == 502
    sentence(answer)
    assert all(
        "sim/slides" not in each.path or "%2F" in each.path or ".." in each.path for each in quiet_dpat.calls()
    )
    assert_nothing_is_queued(quiet_site, "sim/slides")


@pytest.mark.parametrize("address", ["/nowhere", "/dpat_ia_app_demo", "/apps/unknown"])
def test_an_address_where_nothing_is_says_so(quiet_site: Site, address: str) -> None:
    answer = requests.get(quiet_site.url + address, timeout=90)
    assert answer.status_code == 404
    assert "no such URL" in answer.json()["error"]


def test_a_method_that_an_address_does_not_take_is_refused(quiet_site: Site) -> None:
    answer = requests.put(quiet_site.url + ROUTE, data=json.dumps({}), timeout=90)
    assert answer.status_code == 405
    sentence(answer)
