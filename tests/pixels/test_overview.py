"""What overviews take: measured in a process of its own, on a slide that is large and has one level only."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pyvips
import tifffile
from openslide import OpenSlide
from PIL import Image

from slidehook.errors import SlideUnreadable
from slidehook.pixels.direct import DirectReader
from slidehook.pixels.file_pixels import FilePixels
from slidehook.pixels.overview import picture_of, read_whole, thumbnail_of
from slidehook.pixels.source import Box, Pixels
from slidehook.slide import open_slide
from tests.pixels.pyramids import write_levels

SIDE = 18_432
MOST_BYTES = 512 * 2**20
DARK = (0.25, 0.5, 0.5, 0.75)
"""Left, top, right and bottom of what is dark on the large slide, as parts of its side."""
MEASURED = """
import json, re, sys
from pathlib import Path
import numpy as np
from slidehook import Slide
from slidehook.models import ImageInfo
from slidehook.measuring.tissue import overview

path, kind = Path(sys.argv[1]), sys.argv[2]
with Slide(path, ImageInfo(id="S-1", microns_per_pixel=0.25)) as slide:
    if kind == "thumbnail":
        pixels = np.asarray(slide.thumbnail())
    else:
        pixels = overview(slide, mpp=8)
rows, columns = np.nonzero(pixels.mean(axis=2) < 128)
# Not ru_maxrss, which begins with what the parent held.
peak_kib = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
print(json.dumps({
    "bytes": peak_kib * 1024,
    "size": pixels.shape[1::-1],
    "dark": [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1],
}, default=int))
"""


def write_large(path: Path, compression: str) -> Path:
    """Write a slide of 340 megapixels, 972 MiB as RGB, without a pyramid."""
    left, top, right, bottom = (round(each * SIDE) for each in DARK)
    glass = pyvips.Image.black(SIDE, SIDE, bands=3).linear([1], [230, 225, 235]).cast("uchar")
    dark = pyvips.Image.black(right - left, bottom - top, bands=3).linear([1], [90, 40, 110]).cast("uchar")
    glass.insert(dark, left, top).copy(interpretation="srgb").tiffsave(
        str(path), tile=True, tile_width=256, tile_height=256, compression=compression, bigtiff=True
    )
    return path


# One of the two kinds for each compression, since each takes seconds.
@pytest.mark.parametrize(("compression", "kind", "side"), [("jpeg", "overview", 576), ("deflate", "thumbnail", 512)])
def test_an_overview_of_a_large_slide_without_a_pyramid_takes_little_memory(
    tmp_path: Path, compression: str, kind: str, side: int
) -> None:
    path = write_large(tmp_path / "large.tiff", compression)
    command = [sys.executable, "-c", MEASURED, str(path), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
    path.unlink()
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["bytes"] <= MOST_BYTES
    assert found["size"] == [side, side]
    assert found["dark"] == pytest.approx([each * side for each in DARK], abs=1)


@pytest.fixture(scope="module")
def picture() -> Pixels:
    return np.random.default_rng(7).integers(0, 255, (90, 120, 3), np.uint8).repeat(8, 0).repeat(8, 1)


@pytest.mark.parametrize(("columns", "rows"), [(960, 720), (480, 360), (120, 90), (77, 31), (5, 4), (1, 1)])
def test_in_parts_it_reads_what_it_reads_at_once(
    picture: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int, rows: int
) -> None:
    path = write_levels(tmp_path / "single.tiff", [picture], tile_px=256)
    with OpenSlide(path) as slide:
        source = FilePixels(slide, path)
        at_once = source.read(Box(0, 0, 960, 720), columns, rows).astype(int)
        monkeypatch.setattr("slidehook.pixels.file_pixels.PART_PX", 100)
        monkeypatch.setattr("slidehook.pixels.overview.SIDE_PX", 37)
        for parts in (source.read(Box(0, 0, 960, 720), columns, rows), read_whole(source, (960, 720), columns, rows)):
            assert parts.shape == (rows, columns, 3)
            assert np.abs(parts - at_once).mean() < 6
            if 960 % columns == 0 and 720 % rows == 0:
                assert np.abs(parts - at_once).max() <= 2


def test_nothing_larger_than_a_part_is_read_at_once(
    picture: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Watched(OpenSlide):
        largest = 0

        def read_region(self, location: tuple[int, int], level: int, size: tuple[int, int]) -> Image.Image:
            self.largest = max(self.largest, *size)
            return super().read_region(location, level, size)

    path = write_levels(tmp_path / "single.tiff", [picture], tile_px=256)
    monkeypatch.setattr("slidehook.pixels.file_pixels.PART_PX", 100)
    monkeypatch.setattr(DirectReader, "read", lambda *_, **__: None)
    with Watched(path) as slide:
        for columns, rows in ((960, 720), (77, 31), (3, 2)):
            FilePixels(slide, path).read(Box(0, 0, 960, 720), columns, rows)
        thumbnail_of(slide, path)
        assert 0 < slide.largest <= 150


def test_tiles_that_take_too_much_memory_are_refused(
    picture: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_levels(tmp_path / "single.tiff", [picture], tile_px=256)
    with OpenSlide(path) as slide:
        monkeypatch.setattr("slidehook.pixels.file_pixels.LARGE_TILE_PX", 256)
        monkeypatch.setattr(DirectReader, "read", lambda *_, **__: None)
        assert picture_of(slide, path, 96).size == (96, 72)
        monkeypatch.setattr("slidehook.pixels.file_pixels.MAX_TILE_PX", 256 * 255)
        with pytest.raises(SlideUnreadable, match="stores tiles of 256 x 256 pixels, which need too much memory"):
            picture_of(slide, path, 96)


def test_a_file_without_tiles_is_refused_in_words(picture: Pixels, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "strips.tiff", picture, photometric="rgb")
    with pytest.raises(SlideUnreadable, match="OpenSlide cannot read the slide's file"):
        open_slide(tmp_path / "strips.tiff")


def test_a_picture_is_never_larger_than_the_slide(picture: Pixels, tmp_path: Path) -> None:
    path = write_levels(tmp_path / "single.tiff", [picture], tile_px=256)
    with OpenSlide(path) as slide:
        assert picture_of(slide, path, 5000).size == (960, 720)
        assert picture_of(slide, path, 480).size == (480, 360)
