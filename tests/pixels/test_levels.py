from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from openslide import OpenSlide

from slidehook import Slide
from slidehook.apps.tissue import Tissue, TissueParams
from slidehook.models import ImageInfo
from slidehook.pixels.file_pixels import FilePixels
from slidehook.pixels.levels import PyramidLevels
from slidehook.pixels.source import Box, Pixels
from slidehook.running.run_app import run_app
from tests.apps.slides import tissue
from tests.pixels.pyramids import halves, padded, write_levels

WIDTH, HEIGHT = 2900, 2100
LEFT, TOP, RIGHT, BOTTOM = 1700, 1100, 2500, 1700
"""Where there is tissue on the glass."""
PLACE = (LEFT / WIDTH, TOP / HEIGHT, RIGHT / WIDTH, BOTTOM / HEIGHT)
GLASS = (240, 238, 242)


@pytest.fixture(scope="module")
def picture() -> Pixels:
    picture = np.full((HEIGHT, WIDTH, 3), GLASS, np.uint8)
    picture[TOP:BOTTOM, LEFT:RIGHT] = tissue(BOTTOM - TOP, RIGHT - LEFT)
    return picture


def usable(path: Path) -> dict[int, float]:
    """Return the levels of a file that are used at some scale, with theirs."""
    with OpenSlide(path) as slide:
        levels = PyramidLevels(slide, path)
        found = [levels.best(scale) for scale in np.geomspace(1, 100, 30)]
    return {each.number: each.downsample for each in found}


def where(pixels: Pixels) -> tuple[float, float, float, float]:
    """Return the left, top, right and bottom of what is not glass, as parts of the whole."""
    rows, columns = np.nonzero(pixels.astype(int).sum(axis=2) < 640)
    left, right, top, bottom = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
    return left / pixels.shape[1], top / pixels.shape[0], right / pixels.shape[1], bottom / pixels.shape[0]


def assert_in_place(path: Path, shrinks: tuple[float, ...] = (1.9, 2, 4, 7.7, 8, 16, 32)) -> None:
    """Whatever the scale, the square of tissue lies where it is, and beyond the slide all is white."""
    with OpenSlide(path) as slide:
        source = FilePixels(slide, path)
        for downsample in shrinks:
            pixels = source.read(Box(0, 0, WIDTH, HEIGHT), round(WIDTH / downsample), round(HEIGHT / downsample))
            assert where(pixels) == pytest.approx(PLACE, abs=2.5 * downsample / HEIGHT), downsample
            x, y = (side + downsample for side in source.size)
            beyond = source.read(Box(x, y, 40 * downsample, 40 * downsample), 40, 40)
            assert (beyond == 255).all()


def test_the_levels_of_a_sound_pyramid_are_used_at_their_own_scale(picture: Pixels, tmp_path: Path) -> None:
    path = write_levels(tmp_path / "sound.tiff", halves(picture, 4))
    assert usable(path) == pytest.approx({0: 1, 1: 2, 2: 4, 3: 8, 4: 16}, rel=0.01)
    assert_in_place(path)


@pytest.mark.parametrize("colour", [0, 255])
def test_levels_that_are_padded_to_whole_tiles_are_used_at_their_true_scale(
    picture: Pixels, tmp_path: Path, colour: int
) -> None:
    first, *lower = halves(picture, 4)
    path = write_levels(tmp_path / "padded.tiff", [first, *(padded(each, colour=colour) for each in lower)])
    with OpenSlide(path) as slide:
        assert slide.level_downsamples[4] < 10, "the file says less than 16"
    found = usable(path)
    assert found == pytest.approx({number: 2.0**number for number in found})
    assert {0, 1, 2, 3} <= found.keys()
    assert_in_place(path)


def test_tissue_on_a_padded_pyramid_lies_where_it_is_and_has_its_area(picture: Pixels, tmp_path: Path) -> None:
    first, *lower = halves(picture, 4)
    path = write_levels(tmp_path / "padded.tiff", [first, *(padded(each) for each in lower)], mpp=0.5)
    app = Tissue()
    app.params = TissueParams(smallest_mm2=0)
    with Slide(path, ImageInfo(id="S-1")) as slide:
        result = run_app(app, slide, lambda *_: None)
    area_mm2 = (RIGHT - LEFT) * (BOTTOM - TOP) * 0.5**2 * 1e-6
    assert result.properties["Tissue (mm²)"] == pytest.approx(area_mm2, rel=0.15)
    corners = [point for shape in result.shapes for point in shape.points]
    found = (min(each.x for each in corners), min(each.y for each in corners))
    assert found == pytest.approx((LEFT, TOP), abs=40)
    found = (max(each.x for each in corners), max(each.y for each in corners))
    assert found == pytest.approx((RIGHT, BOTTOM), abs=40)


def test_level_0_may_be_padded_as_well(picture: Pixels, tmp_path: Path) -> None:
    path = write_levels(tmp_path / "asap.tiff", [padded(each) for each in halves(picture, 4)])
    found = usable(path)
    assert found == pytest.approx({number: 2.0**number for number in found}, rel=0.01)
    assert {0, 1, 2, 3} <= found.keys()
    with OpenSlide(path) as slide:
        assert slide.dimensions == (3072, 2560)
        pixels = FilePixels(slide, path).read(Box(0, 0, WIDTH, HEIGHT), WIDTH // 16, HEIGHT // 16)
    assert where(pixels) == pytest.approx(PLACE, abs=0.01)


def test_padding_that_leaves_both_ratios_alike_is_found_by_the_pixels(tmp_path: Path) -> None:
    square = np.full((2048, 2048, 3), GLASS, np.uint8)
    square[700:1700, 900:1900] = tissue(1000, 1000)
    first, half, quarter, eighth = halves(square, 3)
    path = write_levels(tmp_path / "square.tiff", [first, half, padded(eighth)])
    assert padded(eighth).shape == quarter.shape
    with OpenSlide(path) as slide:
        assert slide.level_downsamples == pytest.approx((1, 2, 4))
    assert usable(path) == {0: 1, 1: 2, 2: 8}


def test_without_anything_to_see_a_padded_level_is_not_used(tmp_path: Path) -> None:
    first, *lower = halves(np.full((HEIGHT, WIDTH, 3), GLASS, np.uint8), 3)
    path = write_levels(tmp_path / "empty.tiff", [first, *(padded(each) for each in lower)])
    found = usable(path)
    assert all(found[number] == 2.0**number for number in found)
    assert usable(write_levels(tmp_path / "sound.tiff", [first, *lower])).keys() == {0, 1, 2, 3}


def shifted(level: Pixels) -> Pixels:
    return np.roll(level, (12, 12), axis=(0, 1))


def emptied(level: Pixels) -> Pixels:
    level = level.copy()
    level[:, level.shape[1] * 3 // 4 :] = 255
    return level


def another(level: Pixels) -> Pixels:
    return level[::-1, ::-1].copy()


@pytest.mark.parametrize("spoilt", [shifted, emptied, another])
def test_a_level_that_shows_something_else_is_not_used(
    picture: Pixels, tmp_path: Path, spoilt: Callable[[Pixels], Pixels]
) -> None:
    levels = halves(picture, 4)
    levels[2] = spoilt(levels[2])
    path = write_levels(tmp_path / "spoilt.tiff", levels)
    assert usable(path).keys() == {0, 1, 3, 4}
    assert_in_place(path)


def test_a_level_of_pixels_that_were_left_out_is_used(picture: Pixels, tmp_path: Path) -> None:
    levels = [picture[:: 2**number, :: 2**number].copy() for number in range(0, 5, 2)]
    path = write_levels(tmp_path / "nearest.tiff", levels)
    assert usable(path) == pytest.approx({0: 1, 1: 4, 2: 16}, rel=0.01)


def test_real_formats_keep_all_their_levels(sample_slides: Path) -> None:
    for path in (sample_slides / "immuno.tiff", next((sample_slides / "immuno-dicom").glob("*.dcm"))):
        with OpenSlide(path) as slide:
            every = {number for number in range(slide.level_count) if min(slide.level_dimensions[number]) > 1}
        assert usable(path).keys() == every


def test_a_damaged_part_of_a_level_spoils_nothing_else(picture: Pixels, tmp_path: Path) -> None:
    path = write_levels(tmp_path / "damaged.tiff", halves(picture, 3), deflated=True)
    with tifffile.TiffFile(path) as file:
        places = [file.pages[2].dataoffsets[each] for each in range(2)]
    with path.open("r+b") as content:
        for each in places:
            content.seek(each)
            content.write(bytes(200))
    with OpenSlide(path) as slide:
        source = FilePixels(slide, path)
        pixels = source.read(Box(0, 0, WIDTH, HEIGHT), WIDTH // 8, HEIGHT // 8)
    assert where(pixels) == pytest.approx(PLACE, abs=0.01)


def test_several_threads_look_at_the_levels_once(picture: Pixels, tmp_path: Path) -> None:
    first, *lower = halves(picture, 3)
    path = write_levels(tmp_path / "padded.tiff", [first, *(padded(each) for each in lower)])
    with OpenSlide(path) as slide, ThreadPoolExecutor(8) as pool:
        levels = PyramidLevels(slide, path)
        assert len({id(each) for each in pool.map(levels.best, [8.0] * 32)}) == 1
