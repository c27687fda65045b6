from __future__ import annotations

import pytest

from slidehook import Result
from slidehook.geometry import PixelPoint

A, B, C = PixelPoint(0, 0), PixelPoint(1, 0), PixelPoint(1, 1)


def test_shapes_and_labels_are_added_one_after_the_other() -> None:
    result = Result("two", {"n": 2}).polygon([A, B, C]).polyline([A, B], colour="#FF0000").label(C, "here")
    assert [(shape.points, shape.closed) for shape in result.shapes] == [((A, B, C), True), ((A, B), False)]
    assert [shape.colour for shape in result.shapes] == ["#0078D4", "#FF0000"]
    assert [(text.at, text.words) for text in result.texts] == [(C, "here")]


def test_a_shape_keeps_its_points_when_the_authors_list_changes() -> None:
    points = [A, B, C]
    result = Result("one").polygon(points)
    points.clear()
    assert result.shapes[0].points == (A, B, C)


def test_results_share_nothing() -> None:
    Result("one").label(A, "x").properties["n"] = 1
    assert Result("two") == Result("two", {}, [], [])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_polygon_of_fewer_than_three_points_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="3 points"):
        Result("x").polygon([A, B][:count])


@pytest.mark.parametrize("count", [0, 1])
def test_a_line_of_fewer_than_two_points_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="2 points"):
        Result("x").polyline([A][:count])
