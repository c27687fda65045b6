"""Whole numbers stand as such in every body that is sent: a server of typed records takes no `2.0` for one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from slidehook.apps.wholeslide import WholeSlideDemo
from slidehook.dpat.changes import apply_answer, failed_change, result_of
from slidehook.dpat.iaapi.models import StoredResult
from slidehook.dpat.stored_result import RecordMaker
from slidehook.geometry import Frame, PixelPoint
from slidehook.jobs.job import Job, new_job_id
from slidehook.models import QualityControl, QualityControlUpdate, Record, WholeSlideInput
from slidehook.models.reading import read_leniently
from slidehook.result import Button, Gallery, Result

MAY_HAVE_FRACTIONS = {"x", "y", "sortKeyValue", "magnification", "displayProperties", "context"}
A, B, C = PixelPoint(0, 0), PixelPoint(2000, 0), PixelPoint(2000, 1000)
GALLERY: dict[str, Any] = {
    "polygons": [{"points": [{"x": 0.1, "y": 0.1}, {"x": 0.7, "y": 0.1}, {"x": 0.7, "y": 0.3}]}],
    "patches": [{"tag": 1.0, "position": {"x": 0.3, "y": 0.1}, "sortKeyValue": 2.5}],
    "tags": ["a", "b"],
    "patchSize": 64.0,
    "magnification": 20.0,
    "actions": [{"id": "go", "state": 1.0}],
}
SHAPES = [
    {"style": {"strokeStyle": "#112233", "size": 2.0}, "polygons": GALLERY["polygons"]},
    {"style": {"size": 2.6}},
]


def floats(value: Any, name: str = "") -> Iterator[str]:
    """Return the fields of a body that hold a float where none may be."""
    if name in MAY_HAVE_FRACTIONS:
        return
    if isinstance(value, float):
        yield name
    items = (
        value.items()
        if isinstance(value, dict)
        else [(name, each) for each in value]
        if isinstance(value, list)
        else []
    )
    for part, each in items:
        yield from floats(each, part)


def body(record: Record) -> Any:
    return json.loads(json.dumps(record.to_wire()))


@pytest.fixture
def maker(frame: Frame) -> RecordMaker:
    job = Job(
        id=new_job_id(1),
        app_id="wholeslide",
        slide_id="S-1",
        created_at=0,
        trigger="user",
        input=WholeSlideInput(),
        system="dpat",
        address="http://127.0.0.1:1",
        secret="t",
    )
    return RecordMaker(WholeSlideDemo(), job, frame)


def gallery() -> Gallery:
    made = Gallery(["a"], patch_size_px=63.6, magnification=10.0, buttons=[Button("go", "Go")])
    return made.add("a", PixelPoint(100.5, 200.25), sort_key=0.125)


def stored(kind: str, content: Any) -> StoredResult:
    found = {
        "id": 7.0,
        "versionId": 3.0,
        "slideId": "S-1",
        "displayResult": "x",
        "displayProperties": {"Cells": 3, "Share": 0.5},
        "applicationVersion": "1",
        "data": {"context": {}, "result": {"type": kind, "content": content}},
    }
    return read_leniently(StoredResult.model_validate_json, json.dumps(found).encode(), "the result")


def test_what_an_analysis_sends_has_whole_numbers_where_they_belong(maker: RecordMaker, frame: Frame) -> None:
    shapes = Result("x", {"Area (mm²)": 1.5}).polygon([A, B, C]).polyline([A, B]).label(C, "t")
    records = [
        maker.in_progress(33.4, "computing"),
        maker.in_progress(50.0, "computing"),
        maker.failed("x"),
        maker.cancelled(),
        maker.done(shapes, frame),
        maker.done(Result("x", gallery=gallery()), frame),
        QualityControlUpdate(
            application_version="1", quality_control=QualityControl(status="QualityOk", version_id=3)
        ),
    ]
    for record in records:
        assert not list(floats(body(record))), body(record)
    assert body(records[4])["data"]["result"]["content"][0]["style"]["size"] == 2
    assert body(records[5])["data"]["result"]["content"]["patchSize"] == 64


@pytest.mark.parametrize(("kind", "content"), [("primitive", SHAPES), ("patchCollection", GALLERY)])
def test_a_users_change_goes_back_with_whole_numbers_however_it_came(frame: Frame, kind: str, content: Any) -> None:
    record = stored(kind, content)
    answers = [
        record.with_buttons_released(),
        apply_answer(record, result_of(record, frame), frame, application_version="1"),
        failed_change(record, "no"),
    ]
    for answer in answers:
        assert not list(floats(body(answer))), body(answer)
        assert body(answer)["id"] == 7


def test_the_walk_finds_what_it_looks_for() -> None:
    assert list(floats({"style": {"size": 2.0}, "data": [{"tag": 1.0}], "x": 1.0, "context": {"a": 2.0}})) == [
        "size",
        "tag",
    ]
