from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidehook import Button, Gallery, Patch, PixelPoint, Result
from slidehook.dpat.changes import apply_answer, failed_change, is_notice, result_of
from slidehook.dpat.iaapi.models import StoredResult
from slidehook.dpat.stored_result import RecordMaker
from slidehook.errors import AppError, BadRequest
from slidehook.geometry import Frame
from slidehook.result import BLUE, Shape, Text

STORED: dict[str, Any] = {
    "id": 7,
    "versionId": "v3",
    "slideId": "S-1",
    "displayResult": "40 % positive",
    "displayProperties": {"Positive (%)": 40, "Nuclei": "10", "Nothing": None},
    "applicationVersion": "0.9",
    "attachments": [{"name": "a.csv", "state": "stored"}],
    "data": {"context": {"mode": "fast"}, "result": {"type": "primitive", "content": []}},
}
ITEMS: list[dict[str, Any]] = [
    {
        "style": {"strokeStyle": "#112233", "fillStyle": "#445566", "size": 7},
        "polygons": [{"points": [{"x": 0.1, "y": 0.1}, {"x": 0.7, "y": 0.1}, {"x": 0.7, "y": 0.3}]}],
        "polylines": [{"points": [{"x": 0, "y": 0}, {"x": 0.3, "y": 0.3}]}],
        "labels": [{"location": {"x": 0.5, "y": 0.25}, "label": "here"}],
    },
    {"style": None, "polylines": [{"points": [{"x": 0, "y": 0.1}, {"x": 1, "y": 0.1}]}]},
]
GALLERY: dict[str, Any] = {
    "description": "Nuclei",
    "polygons": [{"points": [{"x": 0.1, "y": 0.1}, {"x": 0.7, "y": 0.1}, {"x": 0.7, "y": 0.3}]}],
    "patches": [
        {"tag": 1, "position": {"x": 0.3, "y": 0.1}, "sortKeyValue": 2.5},
        {"tag": 0, "position": {"x": 0.7, "y": 0.2}, "sortKeyValue": "b"},
        {"tag": 0, "position": {"x": 0.9, "y": 0.3}},
    ],
    "tags": ["positive", "negative"],
    "patchSize": 64,
    "magnification": 20,
    "statuses": {"allowVerify": {"value": False, "message": "not yet"}, "allowExport": {"value": True}},
    "actions": [
        {"id": "recount", "state": 1, "name": "Recount", "tooltip": "Count anew"},
        {"id": "other", "state": 0, "name": "Other", "tooltip": ""},
    ],
}


def stored(kind: str, content: Any, **changes: Any) -> StoredResult:
    """A result as DPAT sends it in a `modify`."""
    body = copy.deepcopy(STORED) | changes
    body["data"]["result"] = {"type": kind, "content": copy.deepcopy(content)}
    return StoredResult.model_validate(body)


def content(record: StoredResult) -> Any:
    return record.to_wire()["data"]["result"]["content"]


@pytest.fixture
def gallery() -> StoredResult:
    return stored("patchCollection", GALLERY)


@pytest.fixture
def shapes() -> StoredResult:
    return stored("primitive", ITEMS)


def test_shapes_come_to_the_app_in_pixels(shapes: StoredResult, frame: Frame) -> None:
    result = result_of(shapes, frame)
    assert (result.text, result.properties) == ("40 % positive", {"Positive (%)": 40, "Nuclei": "10"})
    triangle = tuple(PixelPoint(x * 2000, y * 2000) for x, y in ((0.1, 0.1), (0.7, 0.1), (0.7, 0.3)))
    assert result.shapes[0] == Shape(triangle, "#112233")
    assert [(each.colour, each.closed) for each in result.shapes[1:]] == [("#112233", False), (BLUE, False)]
    assert result.texts == [Text(PixelPoint(1000, 500), "here", "#112233")]
    assert (result.gallery, result.pressed, result.quality) == (None, (), None)


def test_a_gallery_comes_to_the_app_with_its_patches_and_what_was_pressed(
    gallery: StoredResult, frame: Frame
) -> None:
    result = result_of(gallery, frame)
    assert result.gallery is not None
    assert result.gallery.tags == ["positive", "negative"]
    assert result.gallery.patches == [
        Patch("negative", PixelPoint(600, 200), 2.5),
        Patch("positive", PixelPoint(1400, 400), "b"),
        Patch("positive", PixelPoint(1800, 600), None),
    ]
    assert (result.gallery.patch_size_px, result.gallery.magnification) == (64, 20)
    assert result.gallery.description == "Nuclei"
    assert result.gallery.buttons == [
        Button("recount", "Recount", "Count anew", pressed=True),
        Button("other", "Other"),
    ]
    assert result.pressed == ("recount",)
    assert result.gallery.counts() == {"positive": 2, "negative": 1}
    assert len(result.shapes) == 1


def test_a_gallery_that_says_as_little_as_it_may_comes_to_the_app(frame: Frame) -> None:
    result = result_of(stored("patchCollection", {"actions": [{"id": "go"}]}), frame)
    assert result.gallery == Gallery([], buttons=[Button("go", "")])


@pytest.mark.parametrize("tag", [-1, 2])
def test_a_patch_with_a_tag_that_does_not_exist_is_refused(frame: Frame, tag: int) -> None:
    with pytest.raises(BadRequest, match=f"Patch 0 has the tag {tag}, but there are 2 tags"):
        result_of(
            stored("patchCollection", {**GALLERY, "patches": [{"tag": tag, "position": {"x": 0, "y": 0}}]}), frame
        )


def test_what_an_app_leaves_alone_is_stored_as_the_user_left_it(shapes: StoredResult, frame: Frame) -> None:
    answer = apply_answer(shapes, result_of(shapes, frame), frame, application_version="0.9")
    told = {name: value for name, value in STORED["displayProperties"].items() if value is not None}
    assert answer == shapes.model_copy(update={"display_properties": told})


def test_a_gallery_that_is_left_alone_gets_its_buttons_released(gallery: StoredResult, frame: Frame) -> None:
    answer = apply_answer(gallery, result_of(gallery, frame), frame, application_version="0.9")
    assert answer.data == gallery.with_buttons_released().data
    assert answer.to_wire()["data"]["result"]["content"]["statuses"] == GALLERY["statuses"]


def test_what_a_result_does_not_model_survives_a_change(gallery: StoredResult, frame: Frame) -> None:
    result = result_of(gallery, frame)
    assert result.gallery is not None
    result.gallery.patches[0] = Patch("positive", result.gallery.patches[0].at)
    result.text, result.properties["Positive (%)"] = "100 % positive", 100
    answer = apply_answer(gallery, result, frame, application_version="1.0").to_wire()
    assert (answer["id"], answer["versionId"], answer["slideId"]) == (7, "v3", "S-1")
    assert answer["attachments"] == STORED["attachments"]
    assert answer["data"]["context"] == {"mode": "fast"}
    shown = answer["data"]["result"]["content"]
    assert shown["statuses"] == GALLERY["statuses"]
    assert [each["tag"] for each in shown["patches"]] == [0, 0, 0]
    assert [each["position"] for each in shown["patches"]] == [each["position"] for each in GALLERY["patches"]]
    assert {each["state"] for each in shown["actions"]} == {0}
    assert (answer["displayResult"], answer["applicationVersion"]) == ("100 % positive", "1.0")
    assert answer["displayProperties"] == {"Positive (%)": 100, "Nuclei": "10"}


def test_shapes_that_are_still_there_keep_their_own_style(shapes: StoredResult, frame: Frame) -> None:
    result = result_of(shapes, frame)
    del result.shapes[0]
    result.label(PixelPoint(200, 200), "new", colour="#ABCDEF")
    first, second, new = content(apply_answer(shapes, result, frame, application_version="1"))
    assert first["style"] == {"strokeStyle": "#112233", "fillStyle": "#445566", "size": 7}
    assert (first["polygons"], first["polylines"], first["labels"]) == ([], ITEMS[0]["polylines"], ITEMS[0]["labels"])
    assert second["polylines"] == ITEMS[1]["polylines"]
    assert new["labels"] == [{"location": {"x": 0.1, "y": 0.1}, "label": "new"}]


def test_the_receipt_of_the_analysis_stays_when_the_answer_leaves_it_out(frame: Frame) -> None:
    table = {"Positive (%)": 40, "Analysed area (mm²)": 1.5, "Seconds": 3.2}
    record = stored("primitive", [], displayProperties=table)
    answer = apply_answer(record, Result("x", {"Positive (%)": 50, "Seconds": 1}), frame, application_version="1")
    assert answer.display_properties == {"Positive (%)": 50, "Seconds": 1, "Analysed area (mm²)": 1.5}
    failed = failed_change(record, "no").display_properties
    assert list(failed) == ["Status", "Positive (%) (before the change)", "Analysed area (mm²)", "Seconds"]
    assert failed_change(failed_change(record, "one"), "no").display_properties == failed


def test_an_answer_of_another_kind_takes_the_place_of_the_whole(
    shapes: StoredResult, gallery: StoredResult, frame: Frame
) -> None:
    answer = apply_answer(shapes, Result("x", gallery=Gallery(["a"])), frame, application_version="1")
    assert answer.data.result.type == "patchCollection"
    assert apply_answer(gallery, Result("x"), frame, application_version="1").data.result.type == "primitive"


def test_an_answer_that_can_not_be_sent_is_the_apps_fault(gallery: StoredResult, frame: Frame) -> None:
    with pytest.raises(AppError, match="can't be sent"):
        apply_answer(gallery, Result("x", {"n": float("nan")}), frame, application_version="1")


corners = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=5)
lines = st.lists(corners.map(lambda line: {"points": [{"x": x, "y": y} for x, y in line]}), max_size=4)


@given(lines, lines, st.integers(1, 300_000), st.integers(1, 300_000))
def test_any_shapes_come_back_exactly(polygons: list[Any], polylines: list[Any], width: int, height: int) -> None:
    frame = Frame(width, height)
    style = {"strokeStyle": "#112233"}
    record = stored("primitive", [{"style": style, "polygons": polygons, "polylines": polylines}])
    answer = apply_answer(record, result_of(record, frame), frame, application_version="1")
    assert content(answer) == (content(record) if polygons or polylines else [])


# --- updates that fail


def test_a_failed_update_keeps_the_users_change_but_no_number_as_if_it_still_held(gallery: StoredResult) -> None:
    failed = failed_change(gallery, "the app has a fault: KeyError: 3.")
    assert failed.display_result == "update failed: the app has a fault: KeyError: 3"
    assert failed.display_properties == {
        "Status": "update failed: the app has a fault: KeyError: 3",
        "Positive (%) (before the change)": 40,
        "Nuclei (before the change)": "10",
    }
    assert failed.data == gallery.with_buttons_released().data


def test_the_next_update_finds_the_table_as_the_app_made_it(gallery: StoredResult, frame: Frame) -> None:
    twice = failed_change(failed_change(gallery, "one"), "two")
    assert twice.display_properties == failed_change(gallery, "two").display_properties
    assert result_of(twice, frame).properties == {"Positive (%)": 40, "Nuclei": "10"}


def test_a_status_of_the_apps_own_is_not_taken_for_a_failure(frame: Frame) -> None:
    record = stored("primitive", [], displayProperties={"Status": "verified", "n": 1})
    assert result_of(record, frame).properties == {"Status": "verified", "n": 1}


def test_progress_failures_and_cancellations_are_none_of_an_apps_results(
    app: Any, job: Any, frame: Frame, gallery: StoredResult
) -> None:
    maker = RecordMaker(app, job, frame)
    for record in (maker.in_progress(5, "queued"), maker.failed("no"), maker.cancelled()):
        assert is_notice(StoredResult.model_validate(record.model_dump() | {"id": 1, "version_id": "v"}))
    assert not is_notice(gallery)
    assert not is_notice(failed_change(gallery, "no"))
    assert not is_notice(stored("primitive", [], displayProperties={}))
    assert not is_notice(stored("patchCollection", GALLERY, displayProperties={"Status": "verified"}))
