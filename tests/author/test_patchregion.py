from __future__ import annotations

import json
from typing import Any

import pytest

from slidehook.dpat.changes import apply_answer, result_of
from slidehook.dpat.iaapi.models import PatchCollection, StoredResult
from slidehook.dpat.patch_region import region_around, with_region
from slidehook.dpat.records import draft_of
from slidehook.geometry import Frame, PixelPoint
from slidehook.result import BLUE, Gallery, Patch, Result, Shape

ROUND = tuple(PixelPoint(x, y) for x, y in ((400, 100), (1600, 100), (1600, 900), (400, 900)))


def gallery(*places: tuple[float, float]) -> Gallery:
    return Gallery(["a", "b"], [Patch("a", PixelPoint(x, y)) for x, y in places], patch_size_px=50, magnification=20)


def stored(result: Result, frame: Frame) -> StoredResult:
    found: dict[str, Any] = {
        "id": 1,
        "versionId": "v1",
        "slideId": "S-1",
        "displayResult": result.text,
        "applicationVersion": "1",
        "data": {"context": {}, "result": draft_of(result, frame).shown().to_wire()},
    }
    return StoredResult.model_validate_json(json.dumps(found))


def polygons(record: StoredResult) -> int:
    assert isinstance(record.data.result, PatchCollection)
    return len(record.data.result.content.polygons or [])


def test_patches_without_a_polygon_get_a_rectangle_round_them(frame: Frame) -> None:
    (region,) = with_region(gallery((500, 300), (1500, 600)), [], frame)
    assert region.points == tuple(
        PixelPoint(x, y) for x, y in ((400, 200), (1000, 200), (1600, 200), (1600, 700), (400, 700))
    )
    assert region.closed


def test_the_rectangle_stays_on_the_slide(frame: Frame) -> None:
    region = region_around(gallery((10, 990)), frame)
    assert region.points == tuple(
        PixelPoint(x, y) for x, y in ((0, 890), (55, 890), (110, 890), (110, 1000), (0, 1000))
    )


@pytest.mark.parametrize("places", [[(500, 300)], [(400, 100), (1600.5, 900)], []])
def test_patches_in_a_polygon_of_the_apps_need_no_other(frame: Frame, places: list[tuple[float, float]]) -> None:
    shapes = [Shape(ROUND, BLUE)]
    assert with_region(gallery(*places), shapes, frame) == shapes


def test_one_patch_outside_the_apps_polygons_is_enough_for_a_rectangle_round_all(frame: Frame) -> None:
    shapes = [Shape(ROUND, BLUE), Shape(ROUND[:2], BLUE)]
    found = with_region(gallery((500, 300), (1800, 300)), shapes, frame)
    assert found[:2] == shapes
    assert len(found) == 3


@pytest.mark.parametrize("own", [[], [Shape(ROUND, BLUE)]])
def test_an_app_that_answers_a_change_does_not_see_the_rectangle_and_it_is_sent_again(
    frame: Frame, own: list[Shape]
) -> None:
    record = stored(Result("x", shapes=own, gallery=gallery((500, 300), (1803.3, 333.3))), frame)
    assert polygons(record) == len(own) + 1
    asked = result_of(record, frame)
    assert len(asked.shapes) == len(own)
    answer = apply_answer(record, asked, frame, application_version="1")
    assert polygons(answer) == len(own) + 1
    assert len(result_of(answer, frame).shapes) == len(own)


def test_a_gallery_that_dpat_has_stored_with_more_tags_comes_to_the_app(frame: Frame) -> None:
    record = stored(Result("x", gallery=gallery((500, 300))), frame)
    assert isinstance(record.data.result, PatchCollection)
    content = record.data.result.content.model_copy(update={"tags": list("abcdefg")})
    result = PatchCollection(content=content)
    record = record.model_copy(update={"data": record.data.model_copy(update={"result": result})})
    found = result_of(record, frame).gallery
    assert found is not None
    assert found.tags == list("abcdefg")


def test_an_apps_own_rectangle_is_never_taken_for_the_added_one(frame: Frame) -> None:
    made = gallery((10, 10), (1990, 990))
    whole = Shape(tuple(frame.rectangle(0, 0, 1, 1)), BLUE)
    for shapes in ([Shape(ROUND, BLUE), whole], [whole]):
        assert len(result_of(stored(Result("x", shapes=shapes, gallery=made), frame), frame).shapes) == len(shapes)
