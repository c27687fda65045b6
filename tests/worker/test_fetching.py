from __future__ import annotations

import io
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from slidehook.dpat.errors import DownloadIncomplete, DpatUnavailable, TokenExpired
from slidehook.dpat.fetching import fetch_files, fetch_label, fetch_thumbnail, thumbnail_level
from slidehook.dpat.iaapi.client import DpatClient
from slidehook.models import ImageInfo
from tests.iaapi.little_dpat import Call, LittleDpat, Reply

STREAM = {"Content-Type": "application/octet-stream", "Content-Disposition": "attachment; filename=a.svs"}
sides = st.integers(1, 2_000_000)


def info(**changes: Any) -> ImageInfo:
    """A slide whose overview is 250 x 150 pixels, in four tiles."""
    record = {
        "id": "S-1",
        "imageSize": {"width": 64000, "height": 38400},
        "tileSize": {"width": 128, "height": 128},
        "micronsPerPixel": 0.25,
        "storedTileFormat": {"extension": "png"},
    }
    return ImageInfo.model_validate({**record, **changes})


def png(width: int, height: int, colour: str) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(content, "PNG")
    return content.getvalue()


def as_format(kind: str) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (128, 128), "red").save(content, kind)
    return content.getvalue()


COLOURS = {"0_0": "red", "1_0": "lime", "0_1": "blue", "1_1": "black"}


def tile(call: Call) -> Reply:
    """Serve the tiles of the slide above, each in a colour of its own; the last row and column are smaller."""
    level, _, name = call.path.removeprefix("/images/S-1_files/").partition("/")
    place = name.removesuffix(".png")
    if level != "8" or place not in COLOURS:
        return Reply(404)
    column, row = (int(each) for each in place.split("_"))
    return Reply(body=png((128, 122)[column], (128, 22)[row], COLOURS[place]))


# --- which level


@given(sides, sides, st.one_of(st.none(), st.floats(-10, 10_000)))
def test_the_level_is_one_that_the_slide_has(width: int, height: int, mpp: float | None) -> None:
    top = math.ceil(math.log2(max(width, height)))
    assert 0 <= thumbnail_level(width, height, mpp) <= min(top, 12)


@given(st.integers(4096, 2_000_000), st.floats(0.1, 1))
def test_the_level_is_the_one_nearest_to_64_um_per_pixel(side: int, mpp: float) -> None:
    top = math.ceil(math.log2(side))
    chosen = thumbnail_level(side, side, mpp)

    def off(level: int) -> float:
        return abs(math.log2(mpp * 2 ** (top - level) / 64))

    assert off(chosen) <= min(off(level) for level in range(min(top, 12) + 1)) + 1e-9


@pytest.mark.parametrize("mpp", [None, 0.0, -0.25, 352.8, 1e-300, math.inf, math.nan])
def test_without_a_pixel_size_the_level_is_about_512_pixels_wide(mpp: float | None) -> None:
    assert thumbnail_level(65536, 100, mpp) == 9
    assert thumbnail_level(300, 100, mpp) == 9


# --- the overview from tiles


def test_an_overview_is_put_together_from_its_tiles(dpat: LittleDpat, client: DpatClient) -> None:
    dpat.answer("GET", "*", tile)
    picture = fetch_thumbnail(client, info())
    assert picture is not None
    assert (picture.mode, picture.size) == ("RGB", (250, 150))
    places = [(0, 0), (127, 127), (128, 0), (249, 127), (0, 128), (127, 149), (128, 128), (249, 149)]
    red, lime, blue, black = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)
    assert [picture.getpixel(each) for each in places] == [red, red, lime, lime, blue, blue, black, black]
    assert len(dpat.calls) == 4


@pytest.mark.parametrize(
    ("formats", "extension"),
    [
        ({"storedTileFormat": {"extension": ".jpeg"}}, "jpeg"),
        ({"storedTileFormat": {"extension": "jxr"}, "availableTileFormats": [{"extension": "png"}]}, "png"),
        ({"storedTileFormat": None, "availableTileFormats": None}, "jpg"),
        ({"storedTileFormat": {"extension": None}}, "jpg"),
        ({"storedTileFormat": {"extension": "../../x"}}, "jpg"),
    ],
)
def test_tiles_are_asked_for_in_a_format_that_can_be_read(
    dpat: LittleDpat, client: DpatClient, formats: dict[str, Any], extension: str
) -> None:
    assert fetch_thumbnail(client, info(**formats)) is None
    assert dpat.calls[0].path == f"/images/S-1_files/8/0_0.{extension}"


@pytest.mark.parametrize(
    "changes",
    [
        {"isStreamable": False},
        {"imageSize": None},
        {"imageSize": {"width": 0, "height": 5}},
        {"tileSize": None},
        {"tileSize": {"width": 0, "height": 128}},
        {"tileSize": {"width": 1, "height": 1}},
    ],
)
def test_a_slide_that_has_no_tiles_is_not_asked_for_any(
    dpat: LittleDpat, client: DpatClient, changes: dict[str, Any]
) -> None:
    assert fetch_thumbnail(client, info(**changes)) is None
    assert not dpat.calls


def huge_png() -> bytes:
    """A picture that says that it has 10,000 megapixels."""
    small = bytearray(png(1, 1, "red"))
    small[16:24] = (100_000).to_bytes(4) * 2
    small[29:33] = zlib.crc32(small[12:29]).to_bytes(4)
    return bytes(small)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(404),
        Reply(204),
        Reply(503),
        Reply(body=b"<html>"),
        Reply(body=png(128, 128, "red")[:60]),
        Reply(body=huge_png()),
        Reply(body=png(128, 100, "red")),  # cut: what it lacks would be white
        Reply(body=png(60, 128, "red")),
    ],
)
def test_without_a_readable_tile_there_is_no_overview(dpat: LittleDpat, client: DpatClient, reply: Reply) -> None:
    dpat.answer("GET", "*", tile, reply)
    assert fetch_thumbnail(client, info()) is None


def test_an_expired_token_is_not_passed_over(dpat: LittleDpat, client: DpatClient) -> None:
    dpat.answer("GET", "*", Reply(401))
    with pytest.raises(TokenExpired):
        fetch_thumbnail(client, info())
    with pytest.raises(TokenExpired):
        fetch_label(client, "S-1")


# --- the label


LABEL = png(30, 20, "red")


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        (Reply(body=LABEL), LABEL),
        (Reply(body=LABEL[:50]), None),
        (Reply(body=b"JPEG"), None),
        (Reply(body=as_format("GIF")), None),
        (Reply(body=as_format("TIFF")), None),
        (Reply(body=png(5001, 1, "red")), None),
        (Reply(204), None),
        (Reply(404), None),
        (Reply(503), None),
    ],
)
def test_a_label_is_fetched_where_there_is_one(
    dpat: LittleDpat, client: DpatClient, reply: Reply, label: bytes | None
) -> None:
    dpat.answer("GET", "/slides/S-1/label", reply)
    assert fetch_label(client, "S-1") == label


# --- the files


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[[], Path]:
    """Make a fresh folder for each try."""

    def make() -> Path:
        folder = tmp_path / f"try-{len(list(tmp_path.glob('try-*')))}"
        folder.mkdir()
        return folder

    return make


def test_a_download_that_broke_off_is_begun_again_in_a_fresh_folder(
    dpat: LittleDpat, client: DpatClient, make_folder: Callable[[], Path], tmp_path: Path
) -> None:
    whole = Reply(body=b"x" * 1000, headers=STREAM)
    cut = Reply(body=b"x" * 1000, headers=STREAM, sent=500)
    dpat.answer("GET", "/slides/S-1/files", cut, cut, whole)
    paths = fetch_files(client, "S-1", make_folder, lambda *_: None)
    assert paths == [tmp_path / "try-2" / "a.svs"]
    assert paths[0].read_bytes() == b"x" * 1000


def test_a_download_that_always_breaks_off_is_given_up(
    dpat: LittleDpat, client: DpatClient, make_folder: Callable[[], Path], tmp_path: Path
) -> None:
    dpat.answer("GET", "/slides/S-1/files", Reply(body=b"x" * 1000, headers=STREAM, sent=500))
    with pytest.raises(DownloadIncomplete):
        fetch_files(client, "S-1", make_folder, lambda *_: None)
    assert len(dpat.calls) == 3
    assert not list(tmp_path.rglob("*.svs"))


def test_a_server_that_is_away_is_left_to_the_jobs_next_attempt(
    dpat: LittleDpat, client: DpatClient, make_folder: Callable[[], Path]
) -> None:
    dpat.answer("GET", "/slides/S-1/files", Reply(503))
    with pytest.raises(DpatUnavailable):
        fetch_files(client, "S-1", make_folder, lambda *_: None)
    assert len(dpat.calls) == 1


def test_whoever_is_told_of_progress_can_stop_the_download(
    dpat: LittleDpat, client: DpatClient, make_folder: Callable[[], Path], tmp_path: Path
) -> None:
    class Stop(Exception):
        """The worker is told to leave."""

    def stop(*_: object) -> None:
        raise Stop

    dpat.answer("GET", "/slides/S-1/files", Reply(body=b"x" * 1000, headers=STREAM))
    with pytest.raises(Stop):
        fetch_files(client, "S-1", make_folder, stop)
    assert len(dpat.calls) == 1
    assert not list(tmp_path.rglob("*.svs"))
