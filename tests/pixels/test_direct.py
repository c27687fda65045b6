"""What is read directly has the pixels that OpenSlide gives; what can't be is left to OpenSlide."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from openslide import OpenSlide, OpenSlideError
from skimage import data

from slidehook import Slide
from slidehook.apps.tissue import Tissue
from slidehook.errors import SlideUnreadable
from slidehook.models import ImageInfo
from slidehook.pixels.direct import DirectReader
from slidehook.pixels.file_pixels import FilePixels
from slidehook.pixels.level_similarity import Level
from slidehook.pixels.source import Box, Pixels
from slidehook.pixels.stored_level import Codec, StoredLevel, stored_levels
from slidehook.pixels.tile_codecs import decode
from slidehook.running.run_app import run_app
from tests.pixels.pyramids import halves, write_scn
from tests.pixels.stored import KINDS, encoded_places, patch_tag, place_of, write_stored

WIDTH, HEIGHT = 900, 700
LEVELS = 2


@pytest.fixture(scope="module")
def picture() -> Pixels:
    tissue: Pixels = data.immunohistochemistry()
    return np.tile(tissue, (2, 2, 1))[:HEIGHT, :WIDTH].copy()


@pytest.fixture(scope="module")
def jpeg(picture: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stored(tmp_path_factory.mktemp("jpeg") / "slide.tiff", halves(picture, LEVELS), "jpeg 4:2:0")


def both_ways(path: Path, box: Box, columns: int, rows: int) -> tuple[str, Pixels | str, Pixels | str]:
    """Return how a file was read, and the pixels, or why there are none, read by itself and by OpenSlide alone."""
    with OpenSlide(path) as slide:
        own = FilePixels(slide, path)
        mine = pixels_or_fault(own, box, columns, rows)
        own.close()
    with OpenSlide(path) as slide:
        return own.how_read, mine, pixels_or_fault(FilePixels(slide), box, columns, rows)


def pixels_or_fault(source: FilePixels, box: Box, columns: int, rows: int) -> Pixels | str:
    try:
        return source.read(box, columns, rows)
    except SlideUnreadable as error:
        return str(error)


def assert_same(mine: Pixels | str, theirs: Pixels | str) -> None:
    assert isinstance(mine, str) == isinstance(theirs, str)
    assert isinstance(mine, str) or np.array_equal(mine, theirs)


# --- the same pixels


@pytest.mark.parametrize("kind", KINDS)
def test_each_compression_is_read_directly_with_openslides_pixels(picture: Pixels, tmp_path: Path, kind: str) -> None:
    path = write_stored(tmp_path / "slide.tiff", halves(picture, LEVELS), kind)
    for number in range(LEVELS + 1):
        scale = 2**number
        part = Box(40 * scale, 20 * scale, 150 * scale, 120 * scale)
        how, mine, theirs = both_ways(path, part, 150, 120)
        assert how == "directly"
        assert_same(mine, theirs)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x, y = draw(st.floats(-100, WIDTH + 50)), draw(st.floats(-100, HEIGHT + 50))
    return Box(x, y, draw(st.floats(1, 600)), draw(st.floats(1, 600)))


@pytest.fixture(scope="module")
def pair(jpeg: Path) -> Iterator[tuple[FilePixels, FilePixels]]:
    with OpenSlide(jpeg) as slide, OpenSlide(jpeg) as other, pytest.MonkeyPatch.context() as patch:
        own = FilePixels(slide, jpeg)
        patch.setattr(own._opened_directly(), "fit_shrinks", lambda _: {})  # OpenSlide does not shrink
        yield own, FilePixels(other)
        assert own.how_read == "directly"
        own.close()


@settings(max_examples=150, deadline=None)
@given(boxes(), st.floats(0.7, 12))
def test_any_box_at_any_scale_has_openslides_pixels(
    pair: tuple[FilePixels, FilePixels], box: Box, scale: float
) -> None:
    columns, rows = max(1, round(box.width / scale)), max(1, round(box.height / scale))
    mine, theirs = (source.read(box, columns, rows) for source in pair)
    assert np.array_equal(mine, theirs)


def test_threads_that_read_at_once_get_what_one_gets_alone(jpeg: Path) -> None:
    boxes = [Box(x, y, 300, 300) for y in range(-50, HEIGHT, 90) for x in range(-50, WIDTH, 90)]
    with OpenSlide(jpeg) as slide, ThreadPoolExecutor(8) as pool:
        alone, together = FilePixels(slide), FilePixels(slide, jpeg)
        for box, pixels in zip(boxes, pool.map(lambda box: together.read(box, 300, 300), boxes), strict=True):
            assert np.array_equal(pixels, alone.read(box, 300, 300))
        together.close()


# --- places


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    levels = [encoded_places(3000, 2000)]
    path = tmp_path_factory.mktemp("places") / "places.tiff"
    return write_stored(path, levels, "deflate")


def test_no_pixel_is_off_by_one_at_200_boxes_and_scales(places: Path) -> None:
    random = np.random.default_rng(11)
    with OpenSlide(places) as slide:
        source = FilePixels(slide, places)
        for _ in range(200):
            x, y = int(random.integers(0, 2900)), int(random.integers(0, 1900))
            columns, rows = (int(each) for each in random.integers(1, 90, 2))
            pixels = source.read(Box(x, y, columns, rows), columns, rows)
            row, column = int(random.integers(0, rows)), int(random.integers(0, columns))
            if x + column < 3000 and y + row < 2000:
                assert place_of(pixels[row, column]) == (x + column, y + row)
            scale = float(random.uniform(1.1, 9))
            box = Box(x, y, columns * scale, rows * scale)
            seen = source.read(box, columns, rows)[row, column].astype(float)
            # Red and green grow by 1 each 16 pixels, so the mean over a pixel tells its middle within a few pixels.
            middle = (x + (column + 0.5) * scale, y + (row + 0.5) * scale)
            if middle[0] + scale < 3000 and middle[1] + scale < 2000:
                assert np.abs(seen[:2] - (np.array(middle) - 8) / 16).max() <= 1 / 2 + 0.51
        assert source.how_read == "directly"
        source.close()


# --- between levels


def exact_and_quick(path: Path, box: Box, columns: int, rows: int) -> tuple[Pixels, Pixels, set[int]]:
    """Return the area average of full resolution, what is read by default, and by how much tiles were shrunk."""
    shrinks: set[int] = set()
    with OpenSlide(path) as slide, pytest.MonkeyPatch.context() as patch:
        source = FilePixels(slide, path)
        exact = source.read(box, columns, rows, exact=True)
        source.close()
        true_decode = decode

        def watched(level: StoredLevel, content: bytes, **how: Any) -> Pixels:
            shrinks.add(how["shrink"])
            return true_decode(level, content, **how)

        patch.setattr("slidehook.pixels.direct.decode", watched)
        quick = source.read(box, columns, rows)
        source.close()
    return exact, quick, shrinks


AREA = 64
"""From so many pixels on, the mean error says something: a pixel or two may lie on a sharp edge."""


def assert_close(exact: Pixels, quick: Pixels) -> None:
    """Check the largest error of all pixels, and the mean error of an area."""
    error = np.abs(exact.astype(int) - quick)
    if exact.shape[0] * exact.shape[1] >= AREA:
        assert error.mean() <= 1
    assert error.max() <= 16


@pytest.mark.parametrize(
    ("scale", "shrinks"),
    [
        (1, {1}),
        (2, {2}),
        (4, {4}),
        (8, {8}),
        (16, {8}),
        (6, {2}),
        (12, {4}),
        (3, {1}),
        (5, {1}),
        (6.7, {1}),
        (17.3, {2}),
    ],
)
def test_what_lies_between_levels_is_shrunk_by_the_decoder_where_that_is_close(
    picture: Pixels, tmp_path: Path, scale: float, shrinks: set[int]
) -> None:
    path = write_stored(tmp_path / "slide.tiff", [picture], "jpeg 4:2:0")
    columns, rows = int(768 // scale), int(512 // scale)  # the tiles that are whole
    exact, quick, used = exact_and_quick(path, Box(0, 0, columns * scale, rows * scale), columns, rows)
    assert used == shrinks
    assert_close(exact, quick)


def test_a_file_whose_decoder_shrinks_too_coarsely_is_decoded_whole(tmp_path: Path) -> None:
    rows = np.arange(HEIGHT)[:, None]
    stripes = np.broadcast_to(np.where(rows % 3 == 0, 0, 255)[..., None], (HEIGHT, WIDTH, 3)).astype(np.uint8)
    path = write_stored(tmp_path / "stripes.tiff", [stripes], "jpeg 4:4:4")
    exact, quick, used = exact_and_quick(path, Box(0, 0, WIDTH, HEIGHT), WIDTH // 2, HEIGHT // 2)
    assert used == {1}
    assert_close(exact, quick)


def test_the_edge_of_a_shrunk_slide_is_the_area_average(picture: Pixels, tmp_path: Path) -> None:
    path = write_stored(tmp_path / "odd.tiff", [picture[:601, :701].copy()], "jpeg 4:2:0")
    exact, quick, _ = exact_and_quick(path, Box(600, 500, 200, 200), 100, 100)
    assert_close(exact, quick)
    assert (quick[52:] == 255).all()


@settings(max_examples=60, deadline=None)
@given(boxes(), st.floats(1.1, 30))
def test_any_box_between_levels_is_close_to_the_area_average(jpeg_only: FilePixels, box: Box, scale: float) -> None:
    columns, rows = max(1, int(box.width / scale)), max(1, int(box.height / scale))
    box = Box(box.x, box.y, columns * scale, rows * scale)
    exact, quick = (jpeg_only.read(box, columns, rows, exact=each) for each in (True, False))
    assert_close(exact, quick)


@pytest.fixture(scope="module")
def jpeg_only(picture: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilePixels]:
    path = write_stored(tmp_path_factory.mktemp("single") / "slide.tiff", [picture], "jpeg 4:2:0")
    with OpenSlide(path) as slide:
        source = FilePixels(slide, path)
        yield source
        source.close()


def test_the_exact_average_is_that_of_full_resolution_whatever_the_levels_show(
    picture: Pixels, tmp_path: Path
) -> None:
    path = write_stored(tmp_path / "slide.tiff", halves(picture, 2), "deflate")
    with OpenSlide(path) as slide:
        source = FilePixels(slide, path)
        average = source.read(Box(0, 0, 896, 696), 224, 174, exact=True)
        source.close()
    expected = picture[:696, :896].reshape(174, 4, 224, 4, 3).mean(axis=(1, 3))
    assert np.abs(average - expected).max() <= 0.6


# --- what is left to OpenSlide


def test_a_level_that_shows_something_else_is_not_read_directly(jpeg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true_decode = decode

    def shifted(level: StoredLevel, content: bytes, **how: Any) -> Pixels:
        return np.roll(true_decode(level, content, **how), 1, axis=1)

    monkeypatch.setattr("slidehook.pixels.proof.decode", shifted)
    how, mine, theirs = both_ways(jpeg, Box(10, 10, 300, 300), 300, 300)
    assert how == "by OpenSlide"
    assert_same(mine, theirs)


def test_a_missing_tile_is_left_to_openslide(picture: Pixels, tmp_path: Path) -> None:
    path = write_stored(tmp_path / "sparse.tiff", [picture], "deflate")
    patch_tag(path, 324, {5: 0})
    patch_tag(path, 325, {5: 0})
    for box in (Box(0, 0, 200, 200), Box(0, 0, 600, 600)):
        how, mine, theirs = both_ways(path, box, 200, 200)
        assert how == ("by OpenSlide" if box.width == 600 else "directly")
        assert_same(mine, theirs)


def test_what_was_scanned_elsewhere_on_the_glass_is_left_to_openslide(picture: Pixels, tmp_path: Path) -> None:
    path = write_scn(tmp_path / "glass.scn", picture, at=(512, 256), whole=(2048, 1536))
    how, mine, theirs = both_ways(path, Box(0, 0, 2048, 1536), 1024, 768)
    assert how == "by OpenSlide"
    assert_same(mine, theirs)


def test_16_bits_one_sample_planes_and_other_predictors_are_left_to_openslide(
    picture: Pixels, tmp_path: Path
) -> None:
    path = write_stored(tmp_path / "slide.tiff", [picture], "lzw with differences")
    for tag, value in ((258, 16), (277, 1), (284, 2), (317, 3)):
        patch_tag(path, tag, {0: value})
        with path.open("rb") as content:
            assert stored_levels(content.fileno(), ((WIDTH, HEIGHT),)) == [None], tag
        patch_tag(path, tag, {0: {258: 8, 277: 3, 284: 1, 317: 2}[tag]})
    with path.open("rb") as content:
        assert stored_levels(content.fileno(), ((WIDTH, HEIGHT),)) != [None]


def test_a_file_without_a_path_is_read_by_openslide_alone(jpeg: Path) -> None:
    with OpenSlide(jpeg) as slide:
        source = FilePixels(slide)
        assert source.how_read == ""
        source.read(Box(0, 0, 100, 100), 100, 100)
        assert source.how_read == "by OpenSlide"


def test_most_lies_are_about_files_that_openslide_opens(picture: Pixels, tmp_path: Path) -> None:
    for lie in (beyond_the_end, at_another_tiles_end, too_few_bytes, of_another_size, random_bytes):
        path = write_stored(tmp_path / "lying.tiff", halves(picture, 1), "jpeg 4:2:0")
        lie(path)
        OpenSlide(path).close()


# --- lies


def cut_off(path: Path) -> None:
    content = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        last = file.pages[0].dataoffsets[-1]
    # What describes the file lies before its pixels.
    path.write_bytes(content[: last - 100])


def beyond_the_end(path: Path) -> None:
    patch_tag(path, 324, {3: path.stat().st_size + 10_000})


def at_another_tiles_end(path: Path) -> None:
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[0].dataoffsets[6], file.pages[0].databytecounts[6]
    patch_tag(path, 324, {3: offset + count // 2})


def too_few_bytes(path: Path) -> None:
    patch_tag(path, 325, {3: 40})


def far_too_many_bytes(path: Path) -> None:
    patch_tag(path, 325, {3: 2**32 - 1})


def of_another_size(path: Path) -> None:
    other = path.with_name("other.tiff")
    write_stored(other, [data.immunohistochemistry()], "jpeg 4:2:0", tile_px=128)
    with tifffile.TiffFile(other) as file, path.open("r+b") as content:
        offset, count = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
        tile = other.read_bytes()[offset : offset + count]
        content.seek(0, 2)
        at = content.tell()
        content.write(tile)
    patch_tag(path, 324, {3: at})
    patch_tag(path, 325, {3: len(tile)})


def of_a_huge_size(path: Path) -> None:
    patch_tag(path, 256, {0: 65_000})


def random_bytes(path: Path) -> None:
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages[0].dataoffsets[3], file.pages[0].databytecounts[3]
    with path.open("r+b") as content:
        content.seek(offset + 30)
        content.write(np.random.default_rng(3).bytes(count - 60))


@pytest.mark.parametrize("kind", ["jpeg 4:2:0", "deflate", "jpeg 2000"])
@pytest.mark.parametrize(
    "lie",
    [cut_off, beyond_the_end, at_another_tiles_end, too_few_bytes, far_too_many_bytes, of_another_size,
     of_a_huge_size, random_bytes],
)  # fmt: skip
def test_a_file_that_lies_gives_openslides_pixels_or_its_fault(
    picture: Pixels, tmp_path: Path, kind: str, lie: Callable[[Path], None]
) -> None:
    path = write_stored(tmp_path / "lying.tiff", halves(picture, 1), kind)
    lie(path)
    with contextlib.suppress(OpenSlideError):  # what OpenSlide does not open, nobody reads
        OpenSlide(path).close()
        for box in (Box(0, 0, 200, 200), Box(600, 0, 300, 256), Box(0, 0, WIDTH, HEIGHT)):
            _, mine, theirs = both_ways(path, box, int(box.width), int(box.height))
            assert_same(mine, theirs)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), min_size=1, max_size=6))
def test_any_damage_to_what_describes_the_file_never_crashes(jpeg: Path, damage: list[tuple[int, int]]) -> None:
    content = bytearray(jpeg.read_bytes())
    for place, value in damage:
        content[place] = value
    path = jpeg.with_name("damaged.tiff")
    path.write_bytes(content)
    reader = DirectReader(path, ((WIDTH, HEIGHT), (WIDTH // 2, HEIGHT // 2)), (1.0, 2.0))
    for number in (0, 1):
        region = reader.read(Level(number, 2.0**number, WIDTH, HEIGHT), 0, 0, (64, 64))
        assert region is None or region.shape == (64, 64, 3)
    reader.close()


def test_a_tile_is_decoded_once_for_all_boxes_that_touch_it(jpeg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Codec] = []
    true_decode = decode

    def counting(level: StoredLevel, content: bytes, **how: Any) -> Pixels:
        decoded.append(level.codec)
        return true_decode(level, content, **how)

    monkeypatch.setattr("slidehook.pixels.direct.decode", counting)
    with OpenSlide(jpeg) as slide:
        source = FilePixels(slide, jpeg)
        for y in range(0, HEIGHT, 50):
            source.read(Box(0, y, WIDTH, 60), WIDTH, 60)
        source.close()
    assert len(decoded) == 4 * 3


# --- what is said of it


def test_the_receipt_says_how_pixels_were_read(sample_slides: Path) -> None:
    with Slide(sample_slides / "immuno.tiff", ImageInfo(id="immuno")) as slide:
        assert run_app(Tissue(), slide, lambda *_: None).properties["Pixels read"] == "directly"
