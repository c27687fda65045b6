from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import LineString, Point, Polygon

from slidehook import Gallery, PixelPoint, Result
from slidehook.result import Shape
from slidehook.results.fewer_shapes import SHAPES_SHOWN, within_budget

SEEDS, COUNTS = st.integers(0, 2**32 - 1), st.integers(1, 25)


def star(x: float, y: float, radii: list[float]) -> list[PixelPoint]:
    """A polygon without crossings: its corners at even angles round a place, each at its own distance."""
    angles = [2 * math.pi * number / len(radii) for number in range(len(radii))]
    return [PixelPoint(x + r * math.cos(a), y + r * math.sin(a)) for a, r in zip(angles, radii, strict=True)]


def circle(corners: int, radius: float = 1000.0, x: float = 0.0) -> list[PixelPoint]:
    return star(x, 0, [radius] * corners)


def found_by_chance(seed: int, count: int) -> Result:
    """Stars, zigzags and polygons that cross themselves, near the slide's corner and far; named by their number."""
    random = np.random.default_rng(seed)
    result = Result("found")
    for number in range(count):
        x, y = random.uniform(0, 1e5, 2)
        extent = 10 ** random.uniform(0, 4)
        corners = int(random.integers(3, 60))
        kind = random.integers(0, 6)
        if kind == 0:
            line = [PixelPoint(x + k * extent / corners, y + random.uniform(-1, 1) * extent) for k in range(corners)]
            result.polyline(line, name=str(number))
        elif kind == 1:
            places = random.uniform(0, extent, (corners, 2))
            result.polygon([PixelPoint(x + a, y + b) for a, b in places], name=str(number))
        else:
            radii = extent * (1 + random.uniform(0, 0.8) * random.uniform(-1, 1, corners))
            result.polygon(star(x, y, radii.tolist()), name=str(number))
    return result


def geometry(shape: Shape) -> Polygon | LineString:
    places = [(point.x, point.y) for point in shape.points]
    return Polygon(places) if shape.closed else LineString(places)


def size(shape: Shape) -> float:
    return math.sqrt(geometry(shape).area) if shape.closed else geometry(shape).length


def corners(result: Result) -> int:
    return sum(len(shape.points) for shape in result.shapes)


@settings(deadline=None)
@given(SEEDS, COUNTS, st.integers(1, 30), st.integers(3, 600), st.sampled_from([None, 0.25, 1.0]))
def test_it_is_never_over_budget(
    seed: int, count: int, max_polygons: int, max_points: int, mpp: float | None
) -> None:
    result = found_by_chance(seed, count)
    found = within_budget(result, max_polygons=max_polygons, max_points=max_points, mpp=mpp)
    assert len(found.shapes) <= max_polygons
    assert corners(found) <= max_points
    if len(result.shapes) <= max_polygons and corners(result) <= max_points:
        assert found is result


@settings(deadline=None)
@given(SEEDS, COUNTS, st.integers(1, 30), st.integers(3, 600))
def test_what_was_sound_stays_sound_and_in_its_place(
    seed: int, count: int, max_polygons: int, max_points: int
) -> None:
    result = found_by_chance(seed, count)
    found = within_budget(result, max_polygons=max_polygons, max_points=max_points, mpp=0.5)
    told = re.search(r"simplified to ([\d.]+) µm", str(found.properties.get(SHAPES_SHOWN, "")))
    tolerance_px = float(told[1]) / 0.5 if told else 0.0
    for shape in found.shapes:
        before = result.shapes[int(shape.name)]
        assert (shape.closed, shape.colour) == (before.closed, before.colour)
        assert set(shape.points) <= set(before.points)
        assert geometry(shape).is_valid or not geometry(before).is_valid
        line = geometry(shape).boundary if shape.closed else geometry(shape)
        if geometry(before).is_valid:
            farthest = max(line.distance(Point(point.x, point.y)) for point in before.points)
            assert farthest <= tolerance_px * (1 + 1e-9) + 1e-6


@settings(deadline=None)
@given(SEEDS, COUNTS, st.integers(1, 30), st.integers(60, 600))
def test_the_largest_are_kept_in_their_order(seed: int, count: int, max_polygons: int, max_points: int) -> None:
    result = found_by_chance(seed, count)
    found = within_budget(result, max_polygons=max_polygons, max_points=max_points)
    kept = [int(shape.name) for shape in found.shapes]
    assert kept == sorted(kept)
    left_out = [size(shape) for number, shape in enumerate(result.shapes) if number not in kept]
    if left_out:
        assert found.shapes
        assert min(size(result.shapes[number]) for number in kept) >= max(left_out) * (1 - 1e-9)
        assert str(found.properties[SHAPES_SHOWN]).startswith(f"{len(kept)} of {len(result.shapes)} (largest")


def test_too_many_small_outlines_lose_no_corner() -> None:
    result = Result("x", {"Count": 3})
    for radius in (10, 30, 20):
        result.polygon(circle(100, radius), colour="#FF0000")
    found = within_budget(result, max_polygons=2, max_points=50_000, mpp=0.25)
    assert found.shapes == [result.shapes[1], result.shapes[2]]
    assert found.properties == {"Count": 3, SHAPES_SHOWN: "2 of 3 (largest)"}
    assert (len(result.shapes), result.properties) == (3, {"Count": 3})


def test_too_many_corners_are_simplified_no_further_than_needed() -> None:
    result = Result("x").polygon(circle(4000)).polygon(circle(4000, x=5000))
    found = within_budget(result, max_polygons=2000, max_points=1000, mpp=0.25)
    assert found.properties[SHAPES_SHOWN] == "2 of 2 (outlines simplified to 0.5 µm)"
    areas = [geometry(shape).area for shape in found.shapes]
    assert areas == pytest.approx([geometry(shape).area for shape in result.shapes], rel=0.005)


def test_a_slide_of_uncertain_pixel_size_is_simplified_in_pixels() -> None:
    found = within_budget(Result("x").polygon(circle(4000)), max_polygons=2000, max_points=200)
    assert found.properties[SHAPES_SHOWN] == "1 of 1 (outlines simplified to 1.0 pixels)"


def test_when_the_last_tolerance_is_not_enough_the_smallest_go() -> None:
    result = Result("x")
    for radius in (4000.0, 6000.0, 5000.0):
        result.polygon(circle(720, radius))
    found = within_budget(result, max_polygons=2000, max_points=80, mpp=0.25)
    assert found.properties[SHAPES_SHOWN] == "2 of 3 (largest; outlines simplified to 16.0 µm)"
    assert [max(point.x for point in shape.points) for shape in found.shapes] == [6000, 5000]


def test_one_huge_outline_is_shown_however_much_it_has_to_be_simplified() -> None:
    ragged = star(0, 0, [1e5 if number % 2 else 9e4 for number in range(1000)])
    found = within_budget(Result("x").polygon(ragged), max_polygons=2000, max_points=20, mpp=0.25)
    (shape,) = found.shapes
    assert 3 <= len(shape.points) <= 20
    assert geometry(shape).is_valid
    assert "simplified to" in str(found.properties[SHAPES_SHOWN])


def test_an_outline_that_goes_out_and_back_is_simplified_too() -> None:
    # A hole, cut open: the usual way to draw one.
    ring = circle(1000)
    hole = circle(1000, 500.0)[::-1]
    result = Result("x").polygon([*ring, ring[0], hole[-1], *hole, ring[0]])
    found = within_budget(result, max_polygons=10, max_points=200, mpp=0.25)
    assert len(found.shapes) == 1


def test_lines_and_polygons_are_measured_by_one_rule() -> None:
    result = Result("x").polygon(circle(50, 100)).polyline([PixelPoint(0, 0), PixelPoint(300, 0)])
    result.polyline([PixelPoint(0, 0), PixelPoint(100, 0)])
    assert within_budget(result, max_polygons=2, max_points=1000).shapes == result.shapes[:2]
    assert within_budget(result, max_polygons=1, max_points=1000).shapes == [result.shapes[1]]


def test_a_label_at_a_corner_goes_with_its_outline_and_others_stay() -> None:
    result = Result("x").polygon(circle(10, 5)).polygon(circle(10, 500))
    for shape, words in zip(result.shapes, ("small", "large"), strict=True):
        result.label(shape.points[0], words)
    result.label(PixelPoint(1, 1), "the slide")
    found = within_budget(result, max_polygons=1, max_points=1000)
    assert [text.words for text in found.texts] == ["large", "the slide"]


def test_a_gallery_keeps_its_patches() -> None:
    gallery = Gallery(["a"])
    for number in range(50):
        gallery.add("a", PixelPoint(number, 0))
    result = Result("x", gallery=gallery).polygon(circle(5)).polygon(circle(5, 2))
    found = within_budget(result, max_polygons=1, max_points=1000)
    assert len(found.shapes) == 1
    assert found.gallery is gallery


def test_shapes_that_have_no_size_come_last() -> None:
    here = PixelPoint(7, 7)
    endless = [PixelPoint(1e308, -1e308), PixelPoint(-1e308, 1e308), PixelPoint(1e308, 1e308)]
    result = Result("x").polygon([here] * 3).polygon(endless).polygon(circle(8, 3)).polyline([here, here])
    result.shapes.append(Shape((), "#FF0000"))
    found = within_budget(result, max_polygons=1, max_points=1000)
    assert found.shapes == [result.shapes[2]]
