from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from slidehook import Frame
from slidehook.measuring.tissue import outlines, tissue_mask
from slidehook.pixels.tiles import Mask
from tests.apps.slides import glass


def test_a_mask_has_its_overviews_shape() -> None:
    assert tissue_mask(glass(33, 57), mpp=8.0).shape == (33, 57)
    assert tissue_mask(glass(1, 1), mpp=0.01).shape == (1, 1)


@pytest.mark.parametrize(
    ("pixels", "mpp"),
    [
        (np.zeros((5, 5, 3)), 8.0),
        (np.zeros((5, 5), np.uint8), 8.0),
        (np.zeros((5, 5, 4), np.uint8), 8.0),
        (np.zeros((0, 5, 3), np.uint8), 8.0),
        (np.zeros((5, 5, 3), np.uint8), 0.0),
        (np.zeros((5, 5, 3), np.uint8), float("nan")),
    ],
)
def test_what_is_no_overview_is_refused(pixels: Any, mpp: float) -> None:
    with pytest.raises(ValueError, match="an overview"):
        tissue_mask(pixels, mpp=mpp)


# --- outlines


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    rows, columns = draw(st.integers(1, 14)), draw(st.integers(1, 14))
    seed = draw(st.integers(0, 10**6))
    return np.random.default_rng(seed).random((rows, columns)) < draw(st.sampled_from([0.2, 0.5, 0.8, 1.0]))


@settings(deadline=None)
@given(masks(), st.integers(1, 5000), st.integers(1, 5000))
def test_outlines_enclose_what_is_marked(mask: Mask, width: int, height: int) -> None:
    found = outlines(mask, Frame(width, height))
    across, down = width / mask.shape[1], height / mask.shape[0]
    assert all(each.is_valid for each in found)
    rows, columns = np.indices(mask.shape) + 0.5
    inside = shapely.contains_xy(shapely.MultiPolygon(found), columns * across, rows * down)
    assert np.array_equal(inside, mask)
    assert [each.area for each in found] == sorted((each.area for each in found), reverse=True)
    # In each square of four pixels' middles: one marked is a corner outwards, three are one inwards.
    four = np.pad(mask, 1).astype(int)
    four = four[1:, 1:] + four[:-1, 1:] + four[1:, :-1] + four[:-1, :-1]
    diagonal = np.pad(mask, 1)
    diagonal = (diagonal[1:, 1:] == diagonal[:-1, :-1]) & (diagonal[1:, 1:] != diagonal[:-1, 1:]) & (four == 2)
    eighths = (four == 3).sum() - (four == 1).sum() - 2 * diagonal.sum()
    true = (mask.sum() + eighths / 8) * across * down
    assert sum(each.area for each in found) == pytest.approx(true, rel=1e-6)


def test_a_hole_and_what_lies_in_it_are_outlined() -> None:
    mask = np.zeros((9, 9), np.bool_)
    mask[1:8, 1:8] = True
    mask[2:7, 2:7] = False
    mask[4, 4] = True
    ring, dot = outlines(mask, Frame(90, 90))
    assert [len(each.interiors) for each in (ring, dot)] == [1, 0]
    assert list(dot.bounds) == [40, 40, 50, 50]
    assert list(ring.bounds) == [10, 10, 80, 80]


def test_nothing_marked_has_no_outline() -> None:
    assert outlines(np.zeros((4, 5), np.bool_), Frame(10, 10)) == []


def test_a_straight_edge_has_no_points_between_its_ends() -> None:
    (square,) = outlines(np.ones((100, 100), np.bool_), Frame(100, 100))
    assert len(square.exterior.coords) - 1 == 8


@pytest.mark.parametrize("mask", [np.ones((4, 4), np.uint8), np.ones(4, np.bool_)])
def test_an_outline_of_no_mask_is_refused(mask: Any) -> None:
    with pytest.raises(ValueError, match="a mask is bool"):
        outlines(mask, Frame(10, 10))
