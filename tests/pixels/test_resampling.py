from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from slidehook.pixels.resampling import read_resampled, resampled, resized
from slidehook.pixels.source import Box, Pixels

NOISE: Pixels = np.random.default_rng(5).integers(0, 256, (140, 170, 3), np.uint8)


def area_average(pixels: Pixels, part: Box, columns: int, rows: int) -> NDArray[np.float64]:
    """Integrate over each new pixel: what is left of an edge, by cumulative sums, minus what is left of the other."""
    found = pixels.astype(np.float64)
    for axis, start, length, count in ((0, part.y, part.height, rows), (1, part.x, part.width, columns)):
        sums = np.concatenate([np.zeros_like(found.take([0], axis)), found.cumsum(axis)], axis)
        edges = start + np.arange(count + 1) * length / count
        lower = np.minimum(np.floor(edges).astype(int), found.shape[axis] - 1)
        shape = [-1 if each == axis else 1 for each in range(3)]
        rest = (edges - lower).reshape(shape)
        at_edges = sums.take(lower, axis) * (1 - rest) + sums.take(lower + 1, axis) * rest
        found = np.diff(at_edges, axis=axis) * (count / length)
    return found


@given(st.data())
def test_shrinking_gives_the_mean_of_the_area_that_each_pixel_covers(data: st.DataObject) -> None:
    columns, rows = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 50))
    width, height = data.draw(st.floats(columns, 169)), data.draw(st.floats(rows, 139))
    part = Box(data.draw(st.floats(0, 169.5 - width)), data.draw(st.floats(0, 139.5 - height)), width, height)
    assert np.abs(resampled(NOISE, part, columns, rows) - area_average(NOISE, part, columns, rows)).max() <= 1.01


@pytest.mark.parametrize("times", [2, 3, 4, 8])
def test_whole_squares_are_averaged(times: int) -> None:
    part = Box(5, 3, 16 * times, 12 * times)
    expected = area_average(NOISE, part, 16, 12)
    assert np.abs(resampled(NOISE, part, 16, 12) - expected).max() <= 0.6  # Pillow rounds its factor, too


def test_white_stays_white() -> None:
    white = np.full((101, 97, 3), 255, np.uint8)
    assert (resized(white, 31, 40) == 255).all()


@given(st.floats(-20, 150), st.floats(-20, 120), st.integers(1, 40), st.integers(1, 40), st.floats(1, 4))
def test_what_is_read_of_a_level_suffices(x: float, y: float, columns: int, rows: int, scale: float) -> None:
    asked: list[tuple[int, int, int, int]] = []

    def read(column: int, row: int, size: tuple[int, int], into: Pixels | None = None) -> Pixels:
        assert into is None
        asked.append((column, row, *size))
        return np.full((size[1], size[0], 3), 7, np.uint8)

    region = Box(x, y, columns * scale, rows * scale)
    assert (read_resampled(read, region, columns, rows) == 7).all()
    ((column, row, width, height),) = asked
    slack = 1.0  # the nearest pixels, where nothing is resized
    assert column - slack <= x
    assert column + width + slack >= x + region.width
    assert row - slack <= y
    assert row + height + slack >= y + region.height


def test_the_levels_own_pixels_are_the_nearest_ones() -> None:
    def read(column: int, row: int, size: tuple[int, int], into: Pixels | None = None) -> Pixels:
        assert into is None
        return NOISE[row : row + size[1], column : column + size[0]]

    assert np.array_equal(read_resampled(read, Box(9.6, 20.4, 50, 40), 50, 40), NOISE[20:60, 10:60])
