from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openslide import OpenSlide
from PIL import Image

from slidehook.dpat.errors import Malformed, NotFound
from slidehook.dpat.iaapi.client import DpatClient, DpatServer
from slidehook.dpat.pixels import DpatPixels
from slidehook.errors import SlideUnreadable
from slidehook.models import ImageInfo, Size
from slidehook.pixels.file_pixels import FilePixels
from slidehook.pixels.source import Box, Pixels
from slidehook.settings import Settings
from slidehook.simulator.options import Options
from slidehook.simulator.server import Simulator
from slidehook.slide import Slide, find_slide_file
from tests.iaapi.little_dpat import LittleDpat, Reply
from tests.origins import dpat_origin

WIDTH, HEIGHT = 6144, 4608
MEAN_ERROR, MOST_ERROR = 3.0, 12.0
"""By how much a tile that was compressed once more differs at most: on average, and in 99 of 100 values."""
STREAMABLE = ImageInfo(id="S-1", image_size=Size(width=600, height=400), tile_size=Size(width=256, height=256))


@pytest.fixture(scope="module")
def sim(sample_slides: Path) -> Iterator[Simulator]:
    with Simulator(sample_slides, Options(strict=True)) as simulator:
        yield simulator


@pytest.fixture(scope="module")
def client(sim: Simulator) -> Iterator[DpatClient]:
    server = DpatServer(sim.callback_url, Settings(_env_file=None))
    with server.session:
        yield server.client(sim.token())


@pytest.fixture(scope="module")
def tiles(client: DpatClient) -> DpatPixels:
    return DpatPixels(client, client.slide_info("immuno"))


@pytest.fixture(scope="module")
def file(sample_slides: Path) -> Iterator[FilePixels]:
    with OpenSlide(sample_slides / "immuno.tiff") as slide:
        yield FilePixels(slide)


def differ(one: Pixels, other: Pixels) -> tuple[float, float]:
    """Return the mean difference of two pictures, and what 99 of 100 values stay below."""
    difference = np.abs(one.astype(float) - other)
    return float(difference.mean()), float(np.percentile(difference, 99))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5), st.floats(1, 1.9), st.data())
def test_tiles_give_what_the_file_gives(
    tiles: DpatPixels, file: FilePixels, halvings: int, times: float, data: st.DataObject
) -> None:
    # On whole pixels of the level: elsewhere the two round to neighbours.
    level = 2**halvings
    x = data.draw(st.integers(-200 // level, (WIDTH - 10) // level)) * level
    y = data.draw(st.integers(-200 // level, (HEIGHT - 10) // level)) * level
    columns, rows = data.draw(st.integers(8, 300)), data.draw(st.integers(8, 300))
    box = Box(x, y, columns * level * times, rows * level * times)
    mean, most = differ(tiles.read(box, columns, rows), file.read(box, columns, rows))
    assert mean < MEAN_ERROR
    assert most < 4 * MOST_ERROR
    # Beyond the slide there is no JPEG in between.
    right = int((WIDTH - x) / level / times) + 2
    assert (tiles.read(box, columns, rows)[:, right:] == 255).all()


@pytest.mark.parametrize(
    ("slide_id", "shrink"),
    [("immuno", 1), ("immuno", 2), ("immuno", 8), ("immuno", 48.3), ("immuno-dicom", 1), ("immuno-dicom", 2)],
)
def test_a_whole_slide_from_tiles_is_the_one_from_the_file(
    client: DpatClient, sample_slides: Path, slide_id: str, shrink: float
) -> None:
    path = sample_slides / f"{slide_id}.tiff"
    enqueuer = path if path.exists() else find_slide_file(sample_slides / slide_id)
    with OpenSlide(enqueuer) as slide:
        width, height = slide.dimensions
        part = Box(0, 0, min(width, 1500 * shrink), min(height, 1000 * shrink))
        columns, rows = round(part.width / shrink), round(part.height / shrink)
        own = FilePixels(slide).read(part, columns, rows)
    mean, most = differ(DpatPixels(client, client.slide_info(slide_id)).read(part, columns, rows), own)
    assert mean < MEAN_ERROR
    assert most < MOST_ERROR * (4 if shrink > 8 else 1)


@settings(max_examples=15, deadline=None)
@given(st.integers(1500, 2500), st.integers(1500, 2500))
def test_between_two_pixels_of_a_level_the_nearer_is_taken(
    tiles: DpatPixels, file: FilePixels, x: int, y: int
) -> None:
    given = tiles.read(Box(x, y, 1600, 1600), 100, 100)
    off = {
        (right, down): differ(given, file.read(Box(x + 16 * right, y + 16 * down, 1600, 1600), 100, 100))[0]
        for right in (-1, 0, 1)
        for down in (-1, 0, 1)
    }
    assert off[0, 0] < 1.25 * min(off.values())  # half a pixel away, its neighbour is as near


def test_each_tile_is_fetched_once(sim: Simulator, client: DpatClient) -> None:
    tiles = DpatPixels(client, client.slide_info("immuno"))
    sim.call_log.clear()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda x: tiles.read(Box(x, 0, 256, 256), 256, 256), range(0, 2048, 256)))
    assert len(sim.call_log.all()) == 8
    tiles.read(Box(100, 100, 1700, 100), 1700, 100)
    assert len(sim.call_log.all()) == 8
    tiles.close()
    tiles.read(Box(0, 0, 256, 256), 256, 256)
    assert len(sim.call_log.all()) == 9


def test_readers_that_need_one_tile_at_once_fetch_it_once(sim: Simulator, client: DpatClient) -> None:
    tiles = DpatPixels(client, client.slide_info("immuno"))
    sim.call_log.clear()
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda x: tiles.read(Box(x, 0, 16, 256), 16, 256), range(0, 512, 16)))
    assert len(sim.call_log.all()) == 2
    assert np.array_equal(np.concatenate(parts, axis=1), tiles.read(Box(0, 0, 512, 256), 512, 256))


def test_what_was_not_used_for_long_is_forgotten(
    sim: Simulator, client: DpatClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slidehook.dpat.pixels.CACHE_BYTES", 3 * 256 * 256 * 3)
    tiles = DpatPixels(client, client.slide_info("immuno"))

    def fetched(column: int) -> int:
        sim.call_log.clear()
        tiles.read(Box(column * 256, 0, 256, 256), 256, 256)
        return len(sim.call_log.all())

    assert [fetched(each) for each in (0, 1, 2, 0, 3, 0, 1)] == [1, 1, 1, 0, 1, 0, 1]


def test_an_app_that_asks_for_tiles_reads_them_through_its_slide(sim: Simulator, client: DpatClient) -> None:
    origin = dpat_origin(sim.callback_url, sim.token(), "immuno")
    with Slide(None, client.slide_info("immuno"), origin=origin) as slide:
        assert (slide.pixel_size.mpp, slide.pixel_size.source) == (0.25, "DPAT")
        assert slide.pixels.size == (WIDTH, HEIGHT)
        assert slide.read(0, 0, WIDTH, HEIGHT, mpp=8).shape == (144, 192, 3)
        assert sum(1 for _ in slide.tiles(mpp=4, size=128)) == 3 * 3


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"is_streamable": False}, "can't serve this slide in tiles"),
        ({"image_size": None}, "does not state the size"),
        ({"tile_size": None}, "does not state the size"),
        ({"tile_size": Size(width=0, height=256)}, "does not state the size"),
        ({"tile_size": Size(width=256, height=4097)}, "larger than 4096 pixels"),
    ],
)
def test_a_slide_that_has_no_tiles_is_unreadable(client: DpatClient, changes: dict[str, object], why: str) -> None:
    with pytest.raises(SlideUnreadable, match=why):
        DpatPixels(client, STREAMABLE.model_copy(update=changes))


def test_a_part_of_too_many_tiles_is_refused_before_any_is_fetched(sim: Simulator, client: DpatClient) -> None:
    huge = ImageInfo(id="immuno", image_size=Size(width=200_000, height=200_000), tile_size=Size(width=64, height=64))
    sim.call_log.clear()
    with pytest.raises(SlideUnreadable, match="too many"):
        DpatPixels(client, huge).read(Box(0, 0, 200_000, 200_000), 200_000, 200_000)
    assert not sim.call_log.all()


@pytest.mark.parametrize(
    ("reply", "error", "why"),
    [
        (Reply(204), NotFound, "no tile 0, 0 of level 10"),
        (Reply(404), NotFound, "."),
        (Reply(200, b"no picture"), Malformed, "tile 0, 0 of level 10 is not a valid JPEG or PNG image"),
    ],
)
def test_a_tile_that_is_missing_or_broken_is_named(reply: Reply, error: type[Exception], why: str) -> None:
    with LittleDpat() as dpat:
        dpat.answer("GET", "/images/S-1_files/10/0_0.jpg", reply)
        server = DpatServer(dpat.url, Settings(_env_file=None))
        with server.session, pytest.raises(error, match=why):
            DpatPixels(server.client("the-token"), STREAMABLE).read(Box(0, 0, 100, 100), 100, 100)


def picture(kind: str, size: tuple[int, int]) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size, "red").save(content, kind)
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (picture("GIF", (256, 256)), "is not a valid JPEG or PNG image"),
        (picture("TIFF", (256, 256)), "is not a valid JPEG or PNG image"),
        (picture("BMP", (256, 256)), "is not a valid JPEG or PNG image"),
        (picture("PPM", (256, 256)), "is not a valid JPEG or PNG image"),
        (picture("JPEG", (256, 256))[:400], "is not a valid JPEG or PNG image"),
        (picture("PNG", (259, 256)), "259 x 256 pixels, over 258 x 258"),
        (picture("JPEG", (256, 20_000)), "256 x 20000 pixels, over 258 x 258"),
        (bytes(256 * 256 * 10), "longer than the limit for this call"),
    ],
)
def test_a_tile_is_a_jpeg_or_png_of_the_size_that_the_record_announces(content: bytes, why: str) -> None:
    with LittleDpat() as dpat:
        dpat.answer("GET", "/images/S-1_files/10/0_0.jpg", Reply(200, content, {"Content-Type": "image/jpeg"}))
        server = DpatServer(dpat.url, Settings(_env_file=None))
        with server.session, pytest.raises(Malformed, match=why):
            DpatPixels(server.client("the-token"), STREAMABLE).read(Box(0, 0, 100, 100), 100, 100)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_tile_may_overlap_its_neighbours_by_a_pixel(kind: str) -> None:
    with LittleDpat() as dpat:
        dpat.answer("GET", "/images/S-1_files/10/0_0.jpg", Reply(200, picture(kind, (257, 258))))
        server = DpatServer(dpat.url, Settings(_env_file=None))
        with server.session:
            pixels = DpatPixels(server.client("the-token"), STREAMABLE).read(Box(0, 0, 100, 100), 100, 100)
    assert pixels.shape == (100, 100, 3)


@pytest.mark.parametrize(("tile", "size", "sound"), [((0, 0), 256, True), ((0, 0), 200, False), ((2, 1), 88, True)])
def test_a_tile_that_is_too_small_does_not_pass_for_glass(tile: tuple[int, int], size: int, sound: bool) -> None:
    # The slide's last column of tiles is 600 - 2 x 256 = 88 pixels wide.
    column, row = tile
    content = io.BytesIO()
    Image.new("RGB", (size, min(256, 400 - row * 256))).save(content, "JPEG")
    with LittleDpat() as dpat:
        reply = Reply(200, content.getvalue(), {"Content-Type": "image/jpeg"})
        dpat.answer("GET", f"/images/S-1_files/10/{column}_{row}.jpg", reply)
        server = DpatServer(dpat.url, Settings(_env_file=None))
        expected = nullcontext() if sound else pytest.raises(Malformed, match="200 x 256 pixels instead of 256 x 256")
        with server.session, expected:
            pixels = DpatPixels(server.client("the-token"), STREAMABLE)
            assert pixels.read(Box(column * 256, row * 256, 50, 50), 50, 50).max() < 255
