from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidehook.geometry import Frame, PixelPoint
from slidehook.models import Point

sides = st.integers(1, 1_000_000)
pixels = st.floats(-1e7, 1e7)


@given(sides, sides, pixels, pixels)
def test_pixels_come_back_from_result_coordinates(width: int, height: int, x: float, y: float) -> None:
    frame = Frame(width, height)
    back = frame.to_pixel(frame.to_result(PixelPoint(x, y)))
    assert back.x == pytest.approx(x, abs=1e-6)
    assert back.y == pytest.approx(y, abs=1e-6)


@given(sides, sides)
def test_both_axes_are_divided_by_the_width(width: int, height: int) -> None:
    corner = Frame(width, height).to_result(PixelPoint(width, height))
    assert corner.x == 1
    assert corner.y == Frame(width, height).bottom == height / width


@given(sides, sides, st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_a_rectangle_within_the_slide_stays_within_it(width: int, height: int, sides: list[float]) -> None:
    corners = Frame(width, height).rectangle(*sides)
    assert len(corners) == 4
    assert all(0 <= each.x <= width and 0 <= each.y <= height for each in corners)


def test_a_rectangle_goes_round_by_its_corners() -> None:
    quarter = Frame(400, 100).rectangle(0, 0.5, 0.25, 1)
    assert quarter == [PixelPoint(0, 50), PixelPoint(100, 50), PixelPoint(100, 100), PixelPoint(0, 100)]
    assert Frame(400, 100).points(quarter[:1]) == [Point(x=0, y=0.125)]


@pytest.mark.parametrize(("width", "height"), [(0, 1), (1, 0), (-1, 1)])
def test_a_slide_without_extent_has_no_coordinates(width: int, height: int) -> None:
    with pytest.raises(ValueError, match="no coordinates"):
        Frame(width, height)
