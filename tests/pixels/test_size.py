from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidehook.errors import PixelSizeUnknown
from slidehook.pixels.size import DISAGREEMENT, PixelSize, pixel_size

SIZES = st.floats(0.05, 20)


def test_the_file_is_believed_before_the_record() -> None:
    assert pixel_size((0.25, 0.26), 0.254) == PixelSize(0.255, "file")


def test_the_record_is_believed_where_the_file_says_nothing() -> None:
    assert pixel_size(None, 0.5) == PixelSize(0.5, "DPAT")


@pytest.mark.parametrize(
    ("in_file", "told", "why"),
    [
        (None, None, "neither"),
        ((0.25, 0.25), 0.5, "file says 0.25 µm per pixel, but DPAT says 0.5"),
        ((0.25, 0.25), 0.235, "but DPAT says 0.235"),
        ((0.25, 0.3), None, "0.25 µm per pixel across but 0.3 down"),
        ((0.25, 0.3), 0.27, "not square"),
        ((0.01, 0.01), None, "the slide's file says 0.01"),
        ((0.25, 25.0), None, "the slide's file says 25"),
        ((0.25, 0.25), 0.0, "DPAT says 0 "),
        (None, 20.1, "DPAT says 20.1"),
        (None, -0.25, "DPAT says -0.25"),
        (None, float("nan"), "DPAT says nan"),
        (None, float("inf"), "DPAT says inf"),
    ],
)
def test_what_is_not_certain_is_refused_with_the_reason(
    in_file: tuple[float, float] | None, told: float | None, why: str
) -> None:
    with pytest.raises(PixelSizeUnknown, match=why):
        pixel_size(in_file, told)


@settings(deadline=None)
@given(SIZES, st.floats(0.9, 1.1))
def test_up_to_5_percent_are_no_disagreement(mpp: float, times: float) -> None:
    told = min(max(mpp * times, 0.05), 20.0)
    differ = abs(told - mpp) > DISAGREEMENT * min(told, mpp)
    if differ:
        with pytest.raises(PixelSizeUnknown):
            pixel_size((mpp, mpp), told)
    else:
        assert pixel_size((mpp, mpp), told) == PixelSize(mpp, "file")


def test_who_said_it_is_named_where_that_was_not_dpat() -> None:
    assert pixel_size(None, 0.5, told_by="the caller") == PixelSize(0.5, "the caller")
    with pytest.raises(PixelSizeUnknown, match=r"file says 0\.25 µm per pixel, but the caller says 0\.5"):
        pixel_size((0.25, 0.25), 0.5, told_by="the caller")


def test_an_area_is_given_in_square_millimetres() -> None:
    assert PixelSize(0.5, "file").mm2(2000 * 4000) == pytest.approx(2.0)
