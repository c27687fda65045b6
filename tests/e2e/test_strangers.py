"""Whoever has no token of DPAT's for a slide and an app changes no work on it."""

from __future__ import annotations

from typing import Any

import pytest

from slidehook.jobs.job import JobState
from tests.e2e.conftest import APP, Dpat, Site, compute

THEIRS = "the-strangers-cancellation"


def forged(dpat: Dpat, slide_id: str, token: str, **changes: Any) -> dict[str, Any]:
    callback = {"url": dpat.callback_url, "token": token}
    return dpat.body(slide_id, callbackInfo=callback, cancellationToken=THEIRS, **changes)


def tokens(dpat: Dpat, slide_id: str) -> dict[str, str]:
    """Return a token that is made up, and right ones for something else."""
    return {
        "made up": "worthless",
        "another slide": dpat.token(APP, dpat.add_slide()),
        "another app": dpat.token("another-app", slide_id),
    }


@pytest.mark.parametrize("kind", ["made up", "another slide", "another app"])
def test_a_token_for_something_else_neither_joins_nor_stops_a_running_job(
    busy_site: Site, busy_dpat: Dpat, kind: str
) -> None:
    slide_id = busy_dpat.add_slide()
    compute(busy_site, busy_dpat, slide_id)
    token, shown = tokens(busy_dpat, slide_id)[kind], busy_dpat.shown(slide_id)
    before = busy_site.job_in(JobState.ACTIVE, slide_id)

    assert busy_site.post(forged(busy_dpat, slide_id, token)).status_code == 502
    notification = forged(busy_dpat, slide_id, token, action="newImageFiles", imageInfo={"id": slide_id})
    assert busy_site.post(notification, "/imagenotification").status_code == 502
    for action in ("delete", "modify"):
        body = forged(busy_dpat, slide_id, token, action=action, input=shown)
        assert busy_site.post(body).status_code == 502, action
    assert busy_site.post(forged(busy_dpat, slide_id, token, action="cancel")).status_code == 200

    assert busy_site.job_in(JobState.ACTIVE, slide_id) == before
    assert list((busy_site.queue / "notes").iterdir()) == []
    answer = busy_dpat.invoke(APP, slide_id, "cancel")
    assert answer.ok
    assert busy_dpat.final(slide_id)["displayResult"] == "cancelled"


def test_a_token_for_this_slide_and_app_alone_is_enough(busy_site: Site, busy_dpat: Dpat) -> None:
    slide_id = busy_dpat.add_slide()
    compute(busy_site, busy_dpat, slide_id)
    token = busy_dpat.token(APP, slide_id)
    assert busy_site.post(forged(busy_dpat, slide_id, token)).status_code == 200
    assert busy_site.post(forged(busy_dpat, slide_id, token, action="cancel")).status_code == 200
    assert busy_dpat.final(slide_id)["displayResult"] == "cancelled"
