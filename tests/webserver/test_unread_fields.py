"""An unreadable field in a record of DPAT: the slide is still queued."""

from __future__ import annotations

import codecs
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.webserver.site import Site

IMAGE: dict[str, Any] = {"id": "S-1", "imageSize": {"width": 2000, "height": 1000}, "staining": {"displayName": "HE"}}
STRANGE: list[dict[str, Any]] = [
    {"micronsPerPixel": "0,25"},
    {"micronsPerPixel": float("nan")},
    {"micronsPerPixel": True},
    {"micronsPerPixel": -1},
    {"tileSize": "240"},
    {"isStreamable": "perhaps"},
    {"focalPlanes": [None]},
    {"opticalPaths": {"id": 1}},
    {"storedTileFormat": "jpg"},
    {"block": "A1"},
    {"specimen": ["skin"]},
    {"qualityControl": "NotSet"},
    {"priority": [1]},
    {"bodyPart": {}},
]


@pytest.mark.parametrize("strange", STRANGE, ids=str)
@pytest.mark.parametrize("imported", [False, True], ids=["asked for", "imported"])
def test_an_unreadable_field_loses_no_slide_and_is_logged_once(
    site: Site, imported: bool, strange: dict[str, Any]
) -> None:
    site.dpat.record = IMAGE | strange
    path = "/apps/tissue-area/imagenotification" if imported else "/apps/tissue-area"
    changes = {"action": None, "input": None, "imageInfo": IMAGE | strange} if imported else {}
    with capture_logs() as logged:
        answer = site.post(path, body=json.dumps(site.body(**changes)).encode())
    assert answer.status_code == 200, answer.text
    assert len(site.jobs()) == 1
    warnings = [each for each in logged if each["log_level"] == "warning"]
    assert [each["fields"].removeprefix("imageInfo.").split(".")[0] for each in warnings] == list(strange)


def test_a_byte_order_mark_before_a_request_is_accepted(site: Site) -> None:
    answer = site.post("/apps/tissue-area", body=codecs.BOM_UTF8 + json.dumps(site.body()).encode())
    assert answer.status_code == 200, answer.text
    assert len(site.jobs()) == 1


@pytest.mark.parametrize("width", [2**32, 10**400], ids=["2^32", "10^400"])
@pytest.mark.parametrize("imported", [False, True], ids=["asked for", "imported"])
def test_an_impossible_image_size_is_refused_in_one_sentence(site: Site, imported: bool, width: int) -> None:
    strange = IMAGE | {"imageSize": {"width": width, "height": 1000}}
    site.dpat.record = strange
    path = "/apps/tissue-area/imagenotification" if imported else "/apps/tissue-area"
    changes = {"action": None, "input": None, "imageInfo": strange} if imported else {}
    answer = site.post(path, body=json.dumps(site.body(**changes)).encode())
    assert answer.status_code == 502, answer.text
    assert "imageSize.width" in answer.text
    assert site.jobs() == []
