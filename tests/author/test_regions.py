from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from slidehook.errors import BadRequest
from slidehook.geometry import Frame, PixelPoint
from slidehook.models import Input, MultiAreaInput, Point, TaggedPolygonInput, WholeSlideInput
from slidehook.regions import FARTHEST, GRID_PX, Region, _on_grid, regions_of, tag_of

FRAME = Frame(2000, 1000)
SQUARE = [(0.1, 0.1), (0.2, 0.1), (0.2, 0.2), (0.1, 0.2)]
Corners = list[tuple[float, float]]


def areas(*polygons: Corners) -> MultiAreaInput:
    """What a user drew, in result coordinates."""
    drawn = [{"points": [{"x": x, "y": y} for x, y in polygon]} for polygon in polygons]
    return MultiAreaInput.model_validate({"type": "multiArea", "content": {"polygons": drawn}})


def tagged(corners: Corners = SQUARE, **content: Any) -> TaggedPolygonInput:
    points = [{"x": x, "y": y} for x, y in corners]
    return TaggedPolygonInput.model_validate(
        {"type": "taggedPolygon", "content": {"polygon": {"points": points}, **content}}
    )


def only(corners: Corners, frame: Frame = FRAME) -> Region:
    (region,) = regions_of(areas(corners), frame)
    return region


def circle(corners: int, *, radius: float = 0.1, turns: float = 1.0) -> Corners:
    steps = [2 * math.pi * turns * n / corners for n in range(corners)]
    return [(0.3 + radius * math.cos(step), 0.25 + radius * math.sin(step)) for step in steps]


def test_a_whole_slide_has_no_regions() -> None:
    assert regions_of(WholeSlideInput(), FRAME) == ()


@pytest.mark.parametrize("drawn", [areas(SQUARE), tagged()])
def test_both_axes_are_counted_in_widths(drawn: Input) -> None:
    (region,) = regions_of(drawn, FRAME)
    assert region.points == (
        PixelPoint(200, 200), PixelPoint(400, 200), PixelPoint(400, 400), PixelPoint(200, 400)
    )  # fmt: skip
    assert region.area_px == 200 * 200
    assert list(region.bounds) == [200, 200, 400, 400]
    assert region.in_result(FRAME) == [Point(x=x, y=y) for x, y in SQUARE]


def test_regions_stay_apart_and_in_order_also_when_they_overlap() -> None:
    found = regions_of(areas(SQUARE, [(0.15, 0.15), (0.4, 0.15), (0.4, 0.4)], SQUARE), FRAME)
    assert [len(region.points) for region in found] == [4, 3, 4]
    assert found[0] == found[2]


def test_a_region_can_be_sent_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(only(SQUARE))) == only(SQUARE)  # noqa: S301 - our own


@pytest.mark.parametrize(
    "corners",
    [
        [*SQUARE, SQUARE[0]],
        [*SQUARE, SQUARE[0], SQUARE[0]],
        [SQUARE[0], *SQUARE],
        [corner for corner in SQUARE for _ in range(3)],
        [*SQUARE[:3], (0.3, 0.3), *SQUARE[2:]],  # out and back the same way
    ],
)
def test_what_was_told_twice_is_dropped(corners: Corners) -> None:
    assert only(corners).polygon.equals(only(SQUARE).polygon)
    assert len(only(corners).points) == 4


def test_what_lies_beyond_the_edge_is_cut_off() -> None:
    region = only([(-0.1, -0.1), (0.1, -0.1), (0.1, 0.9), (-0.1, 0.9)])
    assert list(region.bounds) == [0, 0, 200, 1000]
    assert region.area_px == 200 * 1000


def test_a_slip_at_the_end_of_a_line_is_no_region_of_its_own() -> None:
    # The line overshoots its beginning by a little, as a hand's does.
    slipped = [(0.1, 0.1), (0.2, 0.1), (0.2, 0.2), (0.1, 0.2), (0.1, 0.099), (0.101, 0.1005)]
    assert not shapely.Polygon(slipped).is_valid
    assert only(slipped).area_px == pytest.approx(200 * 200, rel=0.01)


def test_a_line_that_touches_itself_leaves_a_hole() -> None:
    outer = [(0.1, 0.1), (0.3, 0.1), (0.3, 0.3), (0.1, 0.3)]
    hole = [(0.15, 0.15), (0.15, 0.2), (0.2, 0.2), (0.1, 0.1)]
    region = only([*outer, (0.1, 0.1), *hole[:3]])
    assert len(region.polygon.interiors) == 1
    assert region.area_px < 400 * 400


@pytest.mark.parametrize(
    ("corners", "reason"),
    [
        ([], "The region needs at least three different points"),
        (SQUARE[:2], "at least three different points"),
        ([*SQUARE[:2], *SQUARE[:2]], "at least three different points"),
        ([(0.1, 0.1)] * 5, "at least three different points"),
        ([(0.1, 0.1), (0.2, 0.2), (0.3, 0.3)], "has no area"),
        ([(0.1, 0.1), (0.1001, 0.1), (0.1001, 0.1001)], "has no area"),
        ([(0.1, 0.1), (0.2, 0.2), (0.2, 0.1), (0.1, 0.2)], "crosses itself"),
        ([(1.1, 0.1), (1.2, 0.1), (1.2, 0.2)], "lies outside the slide"),
        ([(0.1, 0.6), (0.2, 0.6), (0.2, 0.9)], "lies outside the slide"),
        ([(-0.1, 0), (0, 0), (0, 0.1)], "lies outside the slide"),
        ([(-0.1, 0), (0.1, 0), (-0.05, 0.05), (0.1, 0.1), (-0.1, 0.1)], "cut into several parts"),
        ([(1e300, 0.1), (0.2, 0.1), (0.2, 0.2)], "absurdly far"),
        ([(-2 * FARTHEST, 0.1), (0.2, 0.1), (0.2, 0.2)], "absurdly far"),
        (circle(60, turns=20.3), "crosses itself again and again"),
    ],
)
def test_what_is_no_region_is_refused_with_a_sentence(corners: Corners, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        only(corners)


def test_one_of_several_is_named_by_its_number() -> None:
    with pytest.raises(BadRequest, match="Region 2 needs at least three"):
        regions_of(areas(SQUARE, SQUARE[:2]), FRAME)


def test_no_region_at_all_is_refused() -> None:
    with pytest.raises(BadRequest, match="No region was drawn"):
        regions_of(areas(), FRAME)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_point_that_is_no_place_is_refused(number: str) -> None:
    with pytest.raises(ValueError, match=r"points\.0\.x"):
        MultiAreaInput.model_validate_json(
            f'{{"type": "multiArea", "content": {{"polygons": [{{"points": [{{"x": {number}, "y": 0}}]}}]}}}}'
        )


@pytest.mark.parametrize(
    "make",
    [
        circle,
        lambda n: circle(n, turns=1.01),
        lambda n: circle(n, turns=n / 2.618),
        lambda n: [(0.1 + 0.1 * (i % 2), 0.1 + 0.0001 * (i % 7)) for i in range(n)],
        lambda n: [((i * 7919 % n) / n, (i * 104729 % n) / n / 2) for i in range(n)],
    ],
    ids=["circle", "overshot circle", "star", "back and forth", "scribble"],
)
def test_a_body_full_of_points_is_answered_soon(make: Callable[[int], Corners]) -> None:
    drawn = areas(make(50_000))
    began = time.process_time()
    try:
        regions_of(drawn, Frame(100_000, 50_000))
    except BadRequest as error:
        assert "crosses itself" in str(error)  # noqa: PT017 - some of them do
    assert time.process_time() - began < 20


def test_without_the_slides_extent_only_what_no_slide_can_have_is_refused() -> None:
    assert regions_of(areas([(0.1, 40), (0.2, 40), (0.2, 41)]), None)
    assert regions_of(areas([(0.1, 0.1), (0.1001, 0.1), (0.1001, 0.1001)]), None)
    with pytest.raises(BadRequest, match="crosses itself"):
        regions_of(areas([(0.1, 0.1), (0.2, 0.2), (0.2, 0.1), (0.1, 0.2)]), None)


# --- properties

numbers = st.floats(-2, 2) | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 0.1, 0.5, 1.0])
shapes = st.lists(st.tuples(numbers, numbers), max_size=12)
frames = st.builds(Frame, st.integers(100, 300_000), st.integers(100, 300_000))


@given(shapes, frames)
def test_whatever_is_drawn_becomes_one_good_region_or_a_sentence(corners: Corners, frame: Frame) -> None:
    try:
        region = only(corners, frame)
    except BadRequest as error:
        assert str(error).startswith("The region ")  # noqa: PT017
        assert str(error).endswith(".")  # noqa: PT017
        return
    assert region.polygon.is_valid
    assert region.area_px >= 1
    left, top, right, bottom = region.bounds
    assert 0 <= left < right <= frame.width
    assert 0 <= top < bottom <= frame.height
    assert len(set(region.points)) >= 3


@given(st.lists(st.integers(1, 100), min_size=3, max_size=20), st.integers(0, 19), frames)
def test_a_right_region_keeps_its_corners_wherever_the_line_begins(
    lengths: list[int], first: int, frame: Frame
) -> None:
    # A star-shaped line round the slide's middle: it never crosses itself.
    half = min(frame.width, frame.height) / frame.width / 2
    middle = (0.5, frame.bottom / 2)
    steps = [2 * math.pi * n / len(lengths) for n in range(len(lengths))]
    corners = [
        (middle[0] + half * length / 101 * math.cos(step), middle[1] + half * length / 101 * math.sin(step))
        for step, length in zip(steps, lengths, strict=True)
    ]
    drawn = shapely.Polygon([(x * frame.width, y * frame.width) for x, y in corners])
    if drawn.area < 2:
        return
    turned = corners[first % len(corners) :] + corners[: first % len(corners)]
    region = only(turned, frame)
    assert region.area_px == pytest.approx(drawn.area, abs=drawn.length * GRID_PX)
    assert region.points == tuple(PixelPoint(*_on_grid(frame.to_pixel(Point(x=x, y=y)))) for x, y in turned)


@given(shapes, frames)
def test_a_region_is_still_one_when_it_is_drawn_again(corners: Corners, frame: Frame) -> None:
    try:
        region = only(corners, frame)
    except BadRequest:
        return
    if not region.polygon.interiors:
        again = only([(point.x, point.y) for point in region.in_result(frame)], frame)
        assert again.area_px == pytest.approx(region.area_px, abs=region.polygon.length * GRID_PX)


# --- tags

TAGS = ("tumour", "stroma")


@pytest.mark.parametrize(
    ("content", "tag"),
    [
        ({"tags": ["tumour", "stroma"], "tagIndex": 1}, "stroma"),
        ({"tags": ["stroma", "tumour"], "tagIndex": 1}, "tumour"),
        ({"tags": None, "tagIndex": 1}, "stroma"),
        ({"tagIndex": 0}, "tumour"),
        ({"tags": ["stroma"]}, "stroma"),
        ({"tags": ["tumour", "stroma"]}, None),
        ({"tags": ["tumour", "stroma"], "tagIndex": None}, None),
        ({}, None),
    ],
)
def test_a_polygon_bears_the_tag_that_its_index_names(content: dict[str, Any], tag: str | None) -> None:
    assert tag_of(tagged(**content), TAGS) == tag


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"tags": ["tumour", "stroma"], "tagIndex": 2}, "tagIndex is 2, but there are 2 tags"),
        ({"tags": ["tumour", "stroma"], "tagIndex": -1}, "tagIndex is -1"),
        ({"tagIndex": 2}, "tagIndex is 2"),
        ({"tags": ["necrosis"], "tagIndex": 0}, "'necrosis' is not one of the app's tags"),
        ({"tags": ["tumour", "stroma", ""], "tagIndex": 0}, "'' is not one of"),
        ({"tags": [], "tagIndex": 0}, "there are 0 tags"),
    ],
)
def test_a_tag_that_the_app_does_not_have_is_refused(content: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        tag_of(tagged(**content), TAGS)


@pytest.mark.parametrize("content", [{"tags": []}, {"tags": [], "tagIndex": -1}, {"tagIndex": 0}, {}])
def test_an_app_without_tags_is_given_none(content: dict[str, Any]) -> None:
    assert tag_of(tagged(**content), ()) is None


@pytest.mark.parametrize("drawn", [WholeSlideInput(), areas(SQUARE)])
def test_other_inputs_bear_no_tag(drawn: Input) -> None:
    assert tag_of(drawn, TAGS) is None
