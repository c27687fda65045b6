"""A caller whose token DPAT rejects changes no job, even if the request is otherwise valid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slidehook.jobs.files.notes import KEPT
from slidehook.jobs.files.source import FileClaim, FileSource
from slidehook.jobs.rules import MAX_ALIASES
from tests.iaapi.little_dpat import Call, Reply
from tests.webserver.site import Site

WORTHLESS = "worthless"
MANY = 100


@pytest.fixture
def site(site: Site) -> Site:
    """A webserver whose DPAT accepts every token but one."""

    def answer(call: Call) -> Reply:
        known = call.headers["Authorization"] != f"Bearer {WORTHLESS}"
        return site.dpat.usual(call) if known else Reply(401)

    for method in ("GET", "POST", "PATCH", "PUT"):
        site.dpat.answer(method, "*", answer)
    return site


@pytest.fixture
def source(site: Site) -> Iterator[FileSource]:
    source = FileSource(site.queue, max_attempts=3)
    yield source
    source.close()


def claimed(source: FileSource) -> FileClaim:
    claim = source.claim()
    assert claim is not None
    return claim


def stranger(site: Site, **changes: Any) -> dict[str, Any]:
    return {
        "callbackInfo": {"url": site.dpat.url, "token": WORTHLESS},
        "cancellationToken": "the-strangers",
    } | changes


NEW_FILES = {"action": "newImageFiles", "input": {"type": "wholeSlide"}}


def unchanged(site: Site, claim: FileClaim) -> None:
    """Check that the job is unchanged and can't be cancelled by the stranger's token."""
    assert (claim.secret(), claim.cancel_wanted(), claim.unwanted()) == ("the-token", False, False)
    answer = site.post(action="cancel", input=..., cancellationToken="the-strangers")
    assert answer.status_code == 200
    assert not claim.cancel_wanted()


@pytest.mark.parametrize("ask", ["create", "notification", "new files"])
def test_an_unauthorized_caller_joins_no_job(site: Site, source: FileSource, ask: str) -> None:
    site.post()
    sent = {} if ask == "notification" else NEW_FILES
    answer = site.post(**stranger(site)) if ask == "create" else site.notify(**stranger(site), **sent)
    assert answer.status_code == 502
    unchanged(site, claimed(source))


def test_an_unauthorized_caller_wakes_no_parked_job(site: Site, source: FileSource) -> None:
    site.post()
    claimed(source).park("no token is left")
    assert site.notify(**stranger(site)).status_code == 502
    assert source.claim() is None
    assert site.notify(callbackInfo={"url": site.dpat.url, "token": "fresh"}).status_code == 200
    assert claimed(source).secret() == "fresh"


def test_an_unauthorized_request_leaves_no_trace(site: Site, source: FileSource) -> None:
    assert site.notify(**stranger(site)).status_code == 502
    assert site.post(**stranger(site)).status_code == 502
    assert source.claim() is None
    assert site.files() == []


def test_an_unauthorized_caller_modifies_no_result(site: Site) -> None:
    stored = site.post().json
    changed = {**(stored or {}), "displayResult": "0 %"}
    assert site.post(action="modify", input=changed, **stranger(site)).status_code == 502
    assert site.dpat.results[1] == stored


def test_a_result_of_another_slide_is_not_modified(site: Site) -> None:
    stored = site.post().json
    answer = site.post(action="modify", input=stored, slideId="S-2")
    assert answer.status_code == 400
    assert "another slide" in answer.text


def test_the_image_record_of_an_unconfirmed_notification_is_not_trusted(site: Site, source: FileSource) -> None:
    forged = {"id": "S-1", "staining": {"displayName": "HE"}, "micronsPerPixel": 9}
    site.dpat.answer("POST", "/applications/tissue-area/results", Reply(503))
    assert site.notify(imageInfo=forged).status_code == 502
    assert claimed(source).record.image_info is None

    site.dpat.answer("POST", "/applications/tissue-area/results", site.dpat.usual)
    assert site.notify(imageInfo={**forged, "id": "S-2"}, slideId="S-2").status_code == 200
    image = claimed(source).record.image_info
    assert image is not None
    assert image.microns_per_pixel == 9


def test_requests_grow_a_jobs_files_only_to_a_limit(site: Site, source: FileSource) -> None:
    site.post()
    for number in range(MANY):
        callback = {"url": site.dpat.url, "token": f"token-{number}"}
        assert site.notify(callbackInfo=callback, cancellationToken=f"c-{number}").status_code == 200
    assert len(list(Path(site.queue.layout.notes).iterdir())) == KEPT
    aliases = [path for path in Path(site.queue.layout.aliases).rglob("*") if path.is_file()]
    assert len(aliases) < MAX_ALIASES < MANY
    claim = claimed(source)
    assert claim.secret() == f"token-{MANY - 1}"
    assert site.post(action="cancel", input=..., cancellationToken="the-cancellation").status_code == 200
    assert claim.cancel_wanted()


def test_a_job_parked_repeatedly_reports_it_once(site: Site, source: FileSource) -> None:
    site.post()
    for number in range(5):
        claim = claimed(source)
        claim.park("DPAT refuses the token")
        assert site.notify(callbackInfo={"url": site.dpat.url, "token": f"t-{number}"}).status_code == 200
    assert [each.event for each in claimed(source).record.events] == ["noted", "claimed", "attempt-ended"]
