from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openslide import OpenSlide
from PIL import Image

from slidehook.errors import SlideUnreadable
from slidehook.pixels.direct import DirectReader
from slidehook.pixels.file_pixels import FilePixels, rgb_on_white, stated_mpp
from slidehook.pixels.resampling import resized
from slidehook.pixels.source import Box

WIDTH, HEIGHT = 6144, 4608
"""The sample slide's size."""


class Watched(OpenSlide):
    """Keeps which levels were read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.levels: list[int] = []

    def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
        self.levels.append(level)
        return super().read_region(location, level, size)


@pytest.fixture(scope="module")
def opened(sample_slides: Path) -> Iterator[Watched]:
    with Watched(sample_slides / "immuno.tiff") as slide:
        yield slide


@pytest.fixture(scope="module")
def source(opened: Watched, sample_slides: Path) -> FilePixels:
    return FilePixels(opened, sample_slides / "immuno.tiff")


def test_at_full_size_it_gives_the_files_own_pixels(opened: Watched, source: FilePixels) -> None:
    bare = np.asarray(opened.read_region((3000, 2000), 0, (300, 200)).convert("RGB"))
    assert np.array_equal(source.read(Box(3000, 2000, 300, 200), 300, 200), bare)


@pytest.mark.parametrize(("shrink", "level"), [(1, 0), (1.9, 0), (2, 1), (3.9, 1), (3.99, 2), (4, 2), (7, 2), (8, 3)])
def test_the_coarsest_level_that_is_fine_enough_is_read(
    opened: Watched, source: FilePixels, shrink: float, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DirectReader, "read", lambda *_, **__: None)
    monkeypatch.setattr(DirectReader, "fit_shrinks", lambda *_: {})
    opened.levels.clear()
    pixels = source.read(Box(0, 0, 100 * shrink, 50 * shrink), 100, 50)
    assert pixels.shape == (50, 100, 3)
    assert opened.levels == [level]


def test_pixels_between_two_levels_are_averages(source: FilePixels) -> None:
    fine = source.read(Box(2400, 1800, 600, 450), 600, 450).astype(float)
    thirds = source.read(Box(2400, 1800, 600, 450), 200, 150).astype(float)
    averaged = fine.reshape(150, 3, 200, 3, 3).mean(axis=(1, 3))
    # From the level of half the size, whose pixels straddle those of a third.
    assert np.abs(thirds - averaged).mean() < 6
    assert np.abs(thirds.mean(axis=(0, 1)) - averaged.mean(axis=(0, 1))).max() < 1


def test_a_small_part_shows_all_that_was_asked_for(source: FilePixels) -> None:
    whole = source.read(Box(3000, 2000, 33, 33), 33, 33)
    assert np.array_equal(source.read(Box(3000, 2000, 33, 33), 32, 32), resized(whole, 32, 32))


def test_it_is_white_beyond_the_slide(source: FilePixels) -> None:
    pixels = source.read(Box(WIDTH - 10, HEIGHT - 20, 30, 40), 30, 40)
    assert (pixels[20:] == 255).all()
    assert (pixels[:, 10:] == 255).all()
    assert (pixels[:20, :10] < 255).any()
    assert (source.read(Box(-500, -500, 400, 400), 100, 100) == 255).all()


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x, y = draw(st.floats(-300, WIDTH + 100)), draw(st.floats(-300, HEIGHT + 100))
    return Box(x, y, draw(st.floats(1, 900)), draw(st.floats(1, 900)))


@settings(max_examples=60, deadline=None)
@given(boxes(), st.integers(1, 300), st.integers(1, 300))
def test_any_part_comes_in_the_size_that_was_asked_for(source: FilePixels, box: Box, columns: int, rows: int) -> None:
    pixels = source.read(box, columns, rows)
    assert pixels.shape == (rows, columns, 3)
    assert pixels.dtype == np.uint8


def test_threads_that_read_at_once_get_what_one_gets_alone(source: FilePixels) -> None:
    boxes = [Box(x, y, 512, 512) for y in range(512, 3584, 512) for x in range(512, 5120, 512)]
    alone = [source.read(box, 256, 256) for box in boxes]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda box: source.read(box, 256, 256), boxes))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


def test_the_file_tells_its_size_and_its_pixels(opened: Watched, source: FilePixels) -> None:
    assert source.size == (WIDTH, HEIGHT)
    assert source.stated_mpp == pytest.approx((0.25, 0.25))
    assert stated_mpp(opened) == source.stated_mpp


def test_a_slide_that_was_cut_off_is_unreadable(sample_slides: Path, tmp_path: Path) -> None:
    content = bytearray((sample_slides / "immuno.tiff").read_bytes())
    content[8 : len(content) // 2] = bytes(len(content) // 2 - 8)
    (tmp_path / "cut.tiff").write_bytes(content)
    with OpenSlide(tmp_path / "cut.tiff") as slide, pytest.raises(SlideUnreadable, match="OpenSlide cannot read"):
        FilePixels(slide).read(Box(0, 0, WIDTH, HEIGHT), WIDTH, HEIGHT)


def test_what_is_transparent_is_white() -> None:
    pixels = np.full((4, 6, 4), (10, 20, 30, 255), np.uint8)
    picture = rgb_on_white(Image.fromarray(pixels))
    assert (picture == (10, 20, 30)).all()
    pixels[1, 2, 3] = 0
    picture = rgb_on_white(Image.fromarray(pixels))
    assert tuple(picture[1, 2]) == (255, 255, 255)
    assert (picture[2:] == (10, 20, 30)).all()


def test_shrinking_averages_whole_squares() -> None:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    halves = pixels.reshape(2, 2, 3, 2, 3).mean(axis=(1, 3))
    assert np.abs(resized(pixels, 3, 2) - halves).max() <= 0.5
    assert resized(pixels, 6, 4) is pixels
    assert resized(pixels, 12, 8).shape == (8, 12, 3)
