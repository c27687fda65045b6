from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from slidehook.errors import PixelSizeUnknown
from slidehook.pixels.size import DISAGREEMENT, PixelSize, is_plausible_mpp, pixel_size, plausible_mpp

SIZES = st.floats(0.05, 20)
NAN, INF = float("nan"), float("inf")
NO_SCANNERS = [25400 / dpi for dpi in (1, 72, 96, 100, 150, 200, 300, 400, 600, 1200)] + [1000.0, 1e4, 0.0, -0.25]
NO_SCANNERS += [1e-9, 1e300, INF, NAN]


def test_the_file_is_believed_before_the_record() -> None:
    assert pixel_size((0.25, 0.26), 0.254) == PixelSize(0.255, "file")


def test_the_record_is_believed_where_the_file_says_nothing() -> None:
    assert pixel_size(None, 0.5) == PixelSize(0.5, "DPAT")


@pytest.mark.parametrize(
    ("in_file", "told", "why"),
    [
        (None, None, "neither"),
        ((0.25, 0.25), 0.5, "file states 0.25 µm per pixel, but DPAT states 0.5"),
        ((0.25, 0.25), 0.235, "but DPAT states 0.235"),
        ((0.25, 0.3), None, "0.25 µm per pixel across but 0.3 down"),
        ((0.25, 0.3), 0.27, "not square"),
        ((0.25, 0.3), 352.8, "not square"),
        ((0.01, 0.01), None, "the slide's file states 0.01"),
        ((0.25, 25.0), None, "the slide's file states 25"),
        ((352.8, 352.8), None, "file states 352.8 .*no scanner makes, and DPAT states no pixel size"),
        ((352.8, 352.8), 84.7, "file states 352.8 .*no scanner makes, and DPAT states 84.7 .*no scanner makes"),
        ((1.0, 1.0), None, "exactly 1 µm per pixel"),
        (None, 20.1, "DPAT states 20.1"),
        (None, -0.25, "DPAT states -0.25"),
        (None, float("nan"), "DPAT states nan"),
        (None, float("inf"), "DPAT states inf"),
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
    # What no scanner makes counts as not said; other tests are about that.
    assume(plausible_mpp((mpp, mpp)) is not None and is_plausible_mpp(told))
    differ = abs(told - mpp) > DISAGREEMENT * min(told, mpp)
    if differ:
        with pytest.raises(PixelSizeUnknown):
            pixel_size((mpp, mpp), told)
    else:
        assert pixel_size((mpp, mpp), told) == PixelSize(mpp, "file")


def test_who_said_it_is_named_where_that_was_not_dpat() -> None:
    assert pixel_size(None, 0.5, record_source="the caller") == PixelSize(0.5, "the caller")
    with pytest.raises(PixelSizeUnknown, match=r"file states 0\.25 µm per pixel, but the caller states 0\.5"):
        pixel_size((0.25, 0.25), 0.5, record_source="the caller")


def test_an_area_is_given_in_square_millimetres() -> None:
    assert PixelSize(0.5, "file").mm2(2000 * 4000) == pytest.approx(2.0)


@pytest.mark.parametrize("mpp", NO_SCANNERS)
def test_what_no_scanner_makes_is_not_said(mpp: float) -> None:
    assert not is_plausible_mpp(mpp)
    assert plausible_mpp((mpp, mpp)) is None
    assert pixel_size((mpp, mpp), 0.5) == PixelSize(0.5, "DPAT")
    assert pixel_size((0.5, mpp), 0.25) == PixelSize(0.25, "DPAT")
    assert pixel_size((0.5, 0.5), mpp) == PixelSize(0.5, "file")
    for in_file, told in (((mpp, mpp), None), (None, mpp), ((mpp, mpp), mpp)):
        with pytest.raises(PixelSizeUnknown, match="which no scanner makes"):
            pixel_size(in_file, told)


def test_exactly_1_um_counts_only_where_something_else_says_so_too() -> None:
    assert plausible_mpp((1.0, 1.0)) is None
    assert pixel_size((1.0, 1.0), 0.25) == PixelSize(0.25, "DPAT")
    assert pixel_size((1.0, 1.0), 1.0) == PixelSize(1.0, "DPAT")
    assert pixel_size((1.0, 1.0), None, power=10) == PixelSize(1.0, "file")
    assert pixel_size((1.0, 1.01), None) == PixelSize(1.005, "file")


@pytest.mark.parametrize(("mpp", "power"), [(0.25, 40), (0.5, 20), (0.2325, 20), (0.11, 40), (0.16, 63), (4.0, 2)])
def test_what_scanners_make_of_their_objectives_is_believed(mpp: float, power: float) -> None:
    assert pixel_size((mpp, mpp), None, power=power) == PixelSize(mpp, "file")


@pytest.mark.parametrize(("mpp", "power"), [(0.25, 4), (2.0, 40), (10.58, 20)])
def test_a_pixel_size_that_the_files_own_objective_contradicts_is_not_said(mpp: float, power: float) -> None:
    assert plausible_mpp((mpp, mpp), power) is None
    assert pixel_size((mpp, mpp), 0.5, power=power) == PixelSize(0.5, "DPAT")
    with pytest.raises(PixelSizeUnknown, match=f"its own objective of {power}x, and DPAT"):
        pixel_size((mpp, mpp), None, power=power)
