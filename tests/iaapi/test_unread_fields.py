"""An unreadable optional field loses no slide, whatever its content."""

from __future__ import annotations

import codecs
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from slidehook.dpat.errors import Malformed
from slidehook.dpat.iaapi.client import DpatClient, DpatServer
from slidehook.dpat.iaapi.models import Modify, Style, parse_invocation, parse_notification
from slidehook.errors import BadRequest
from slidehook.models import ImageInfo
from tests.iaapi.little_dpat import LittleDpat, Reply
from tests.iaapi.test_models import STORED, TRIANGLE, call

INFO = "/slides/S-1/info"
WARNING = "unreadable fields were ignored"
IMAGE: dict[str, Any] = {
    "id": "S-1",
    "isStreamable": True,
    "imageSize": {"width": 2000, "height": 1000},
    "tileSize": {"width": 240, "height": 240},
    "micronsPerPixel": 0.25,
    "focalPlanes": [{"id": 0, "offsetUm": 0.5}],
    "opticalPaths": [{"id": "A", "description": "bright"}],
    "storedTileFormat": {"mimeType": "image/jp2", "extension": "jp2"},
    "availableTileFormats": [{"mimeType": "image/jpeg", "extension": "jpg"}],
    "fileFormat": {"mimeType": "application/dicom"},
    "staining": {"displayName": "HE"},
    "block": {"displayName": "A1"},
    "specimen": {"anatomy": "skin", "description": "left"},
    "bodyPart": "SKIN",
    "examCode": "E",
    "examDescription": "D",
    "stationName": "scanner",
    "priority": 3,
    "qualityControl": {"status": "NotSet", "versionId": 1},
    "seriesInstanceUid": "1.2",
    "lisSlideId": "L",
    "accessionNumber": "A",
    "accessionNumberIssuer": "I",
    "studyInstanceUid": "1.3",
    "examId": "E",
    "examDateTime": "2024-01-01",
    "examFreeFields": [{"a": "b"}],
}
GALLERY: dict[str, Any] = {
    "description": "cells",
    "patches": [{"tag": 0, "position": {"x": 0.1, "y": 0.2}, "sortKeyValue": 1.0}],
    "tags": ["tumour"],
    "patchSize": 64,
    "magnification": 20,
    "statuses": {"allowVerify": {"value": 1, "message": "go on"}},
    "actions": [{"id": "again", "state": 1, "name": "Again", "tooltip": "once more"}],
}
MODIFIED: dict[str, Any] = STORED | {
    "attachments": [{"name": "a.csv", "state": "stored"}],
    "data": {"context": {"n": 1}, "result": {"type": "patchCollection", "content": GALLERY}},
}
JUNK = [
    "null",
    '""',
    '"x"',
    '"0,25"',
    "-1",
    "1e400",
    "NaN",
    "-Infinity",
    "[]",
    "{}",
    "[null]",
    "true",
    '[{"a": [{}]}]',
]
"""Values in JSON, or in invalid JSON as sent by some servers."""

Way = tuple[str | int, ...]


def ways(value: Any, needed: set[Way], at: Way = ()) -> list[Way]:
    """Yield the path of each field and item in a body, except the required ones."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inner = [way for key, each in pairs for way in ways(each, needed, (*at, key))]
    return inner if at in needed or not at else [at, *inner]


def spoiled(body: Any, way: Way, junk: str) -> bytes:
    """Serialize a body with another value at one path."""
    copy = json.loads(json.dumps(body))
    inside = copy
    for key in way[:-1]:
        inside = inside[key]
    inside[way[-1]] = "@"
    return json.dumps(copy).replace('"@"', junk).encode()


SIZE: set[Way] = {("id",), ("imageSize",), ("imageSize", "width"), ("imageSize", "height")}


@pytest.mark.parametrize("way", ways(IMAGE, SIZE), ids=str)
def test_no_unreadable_optional_field_of_an_image_record_loses_the_slide(
    dpat: LittleDpat, client: DpatClient, way: Way
) -> None:
    right = ImageInfo.model_validate(IMAGE)
    for junk in JUNK:
        dpat.answer("GET", INFO, Reply(body=spoiled(IMAGE, way, junk)))
        found = client.slide_info("S-1")
        outer = ImageInfo.model_validate({str(way[0]): IMAGE[str(way[0])], "id": "S-1"}).model_fields_set - {"id"}
        assert found.model_copy(update={name: getattr(right, name) for name in outer}) == right
        found.model_dump_json()


@pytest.mark.parametrize("way", ways(IMAGE, {("id",)}), ids=str)
def test_no_unreadable_field_of_a_notifications_image_record_loses_the_slide(way: Way) -> None:
    body = call(action=..., imageInfo=IMAGE)
    for junk in JUNK:
        assert parse_notification(spoiled(body, ("imageInfo", *way), junk)).slide_id == "S-1"


@pytest.mark.parametrize("junk", JUNK)
def test_an_unreadable_image_record_of_a_notification_counts_as_missing(junk: str) -> None:
    assert parse_notification(spoiled(call(action=..., imageInfo=IMAGE), ("imageInfo",), junk)).image_info is None


@pytest.mark.parametrize("junk", [each for each in JUNK if each != "-1"] + ["0", "-0.25", '"nan"', '"Infinity"'])
def test_an_unreadable_pixel_size_is_missing_and_never_guessed(
    dpat: LittleDpat, client: DpatClient, junk: str
) -> None:
    dpat.answer("GET", INFO, Reply(body=spoiled(IMAGE, ("micronsPerPixel",), junk)))
    with capture_logs() as logged:
        assert client.slide_info("S-1").microns_per_pixel is None
    fields = [each["fields"] for each in logged if each["event"] == WARNING]
    assert fields == ([] if junk == "null" else ["micronsPerPixel"])


def test_one_warning_names_all_fields_but_no_values(dpat: LittleDpat, client: DpatClient) -> None:
    strange = {"staining": "s3cret", "focalPlanes": [None, {"offsetUm": "s3cret"}], "priority": ["s3cret"]}
    dpat.answer("GET", INFO, Reply(body=IMAGE | strange))
    with capture_logs() as logged:
        image = client.slide_info("S-1")
    (warning,) = logged
    assert warning["event"] == WARNING
    assert warning["log_level"] == "warning"
    assert warning["fields"] == "focalPlanes.(an item), focalPlanes.offsetUm, staining, priority"
    assert "s3cret" not in str(logged)
    assert image.focal_planes is not None
    assert [plane.offset_um for plane in image.focal_planes] == [None]


@pytest.mark.parametrize(
    ("name", "junk"),
    [(name, junk) for name in ("id", "imageSize") for junk in ("[1]", "true", "[null]")]
    + [("id", "null"), ("imageSize", '"x"'), ("imageSize", "1e400"), ("imageSize", '{"width": "w", "height": 1}')],
)
def test_an_unreadable_required_field_gets_one_sentence(
    dpat: LittleDpat, client: DpatClient, name: str, junk: str
) -> None:
    dpat.answer("GET", INFO, Reply(body=spoiled(IMAGE, (name,), junk)))
    with pytest.raises(Malformed, match=f"^DPAT's answer is not the slide's image record: {name}") as caught:
        client.slide_info("S-1")
    assert "\n" not in str(caught.value)


def test_an_unreadable_slide_of_the_case_affects_no_other(dpat: LittleDpat, client: DpatClient) -> None:
    body = [IMAGE, None, {"staining": "x"}, IMAGE | {"id": "S-2", "staining": "x"}]
    dpat.answer("GET", "/slides/S-1/request/images/info", Reply(body=body))
    assert [each.id for each in client.case_of("S-1")] == ["S-1", "S-2"]


DECIDES: set[Way] = {("id",), ("versionId",), ("slideId",), ("displayResult",), ("applicationVersion",), ("data",),
                     ("data", "result"), ("data", "result", "type"), ("data", "result", "content")}  # fmt: skip
CONTENT: Way = ("data", "result", "content")


@pytest.mark.parametrize(
    "way",
    [
        way
        for way in ways(MODIFIED, DECIDES)
        if way[:3] != CONTENT
        or way[3] in {"description", "patchSize", "magnification", "statuses"}
        or way[-1] in {"sortKeyValue", "name", "tooltip"}
    ],
    ids=str,
)
def test_no_unreadable_optional_field_of_a_changed_result_loses_the_change(way: Way) -> None:
    for junk in JUNK:
        read = parse_invocation(spoiled(call(action="modify", input=MODIFIED), ("input", *way), junk))
        assert isinstance(read, Modify)
        assert read.input.id == 7
        read.input.to_wire()


@pytest.mark.parametrize(
    ("body", "way"),
    [
        (call(), ("action",)),
        (call(), ("applicationId",)),
        (call(), ("slideId",)),
        (call(), ("cancellationToken",)),
        (call(), ("callbackInfo",)),
        (call(), ("callbackInfo", "token")),
        (call(), ("input",)),
        (call(action="modify", input=MODIFIED), ("input", *CONTENT, "patches")),
        (call(action="modify", input=MODIFIED), ("input", *CONTENT, "tags")),
        (call(action="modify", input=MODIFIED), ("input", *CONTENT, "actions")),
        (call(action="modify", input=MODIFIED), ("input", *CONTENT, "actions", 0, "state")),
        (call(action="modify", input=STORED), ("input", *CONTENT, 0, "polygons")),
        (call(action="delete", input=STORED), ("input", "id")),
        (
            call(input={"type": "taggedPolygon", "content": {"polygon": {"points": TRIANGLE}, "tags": ["a"]}}),
            ("input", "content", "tags"),
        ),
    ],
)
@pytest.mark.parametrize("junk", ["-1", "1e400", "[null]", "NaN"])
def test_an_unreadable_decisive_field_is_an_error(body: dict[str, Any], way: Way, junk: str) -> None:
    if way[-1] == "id" and junk == "-1":
        junk = "true"
    with pytest.raises(BadRequest):
        parse_invocation(spoiled(body, way, junk))


@pytest.mark.parametrize("junk", JUNK)
def test_a_token_is_accepted_whatever_the_other_fields_are(dpat: LittleDpat, server: DpatServer, junk: str) -> None:
    for name in ("expiresIn", "tokenType"):
        body = spoiled({"accessToken": "abc", "tokenType": "Bearer", "expiresIn": 60}, (name,), junk)
        dpat.answer("POST", "/token", Reply(body=body))
        assert server.fetch_token("user", "password", "app").access_token == "abc"


@pytest.mark.parametrize("junk", JUNK)
def test_the_software_version_is_optional(dpat: LittleDpat, client: DpatClient, junk: str) -> None:
    dpat.answer(
        "GET", "/info", Reply(body=spoiled({"apiVersion": "1.9", "softwareVersion": 1}, ("softwareVersion",), junk))
    )
    assert client.info().api_version == "1.9"


MARKED = [
    lambda text: codecs.BOM_UTF8 + text.encode(),
    lambda text: text.encode("utf-16"),
    lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    lambda text: text.encode("utf-32"),
]


@pytest.mark.parametrize("mark", MARKED, ids=["utf-8", "utf-16", "utf-16-be", "utf-32"])
def test_a_byte_order_mark_is_accepted(dpat: LittleDpat, client: DpatClient, mark: Any) -> None:
    assert parse_invocation(mark(json.dumps(call()))) == parse_invocation(json.dumps(call()).encode())
    notification = json.dumps(call(action=..., imageInfo=IMAGE))
    assert parse_notification(mark(notification)) == parse_notification(notification.encode())
    kind = {"Content-Type": "application/json; charset=utf-8"}
    dpat.answer("GET", INFO, Reply(body=mark(json.dumps(IMAGE)), headers=kind))
    assert client.slide_info("S-1") == ImageInfo.model_validate(IMAGE)
    dpat.answer("GET", "/applications/app/results/7", Reply(body=mark(json.dumps(STORED)), headers=kind))
    assert client.result("app", 7).answer == STORED
    dpat.answer("GET", "/applications/app/results/slide/S-1", Reply(body=mark(json.dumps([STORED])), headers=kind))
    assert [each.answer for each in client.results_on_slide("app", "S-1")] == [STORED]


def test_constructing_a_record_is_strict() -> None:
    with pytest.raises(ValueError, match="size"):
        Style.model_validate({"size": "large"})
