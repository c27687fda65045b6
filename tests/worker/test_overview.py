from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from slidehook.dpat.errors import TokenExpired
from slidehook.dpat.origin import DpatOrigin
from slidehook.errors import SlideUnreadable
from slidehook.models import ImageInfo
from slidehook.running.overview import keep_overview
from tests.iaapi.little_dpat import LittleDpat, Reply
from tests.origins import dpat_origin
from tests.worker.test_fetching import info, png, tile


@pytest.fixture
def origin(dpat: LittleDpat) -> DpatOrigin:
    return dpat_origin(dpat.url, "t", "S-1")


def size(path: Path | None) -> tuple[int, int]:
    assert path is not None
    with Image.open(path) as picture:
        return picture.size


def test_an_overview_is_made_of_dpats_tiles_and_made_once(
    dpat: LittleDpat, origin: DpatOrigin, tmp_path: Path
) -> None:
    dpat.answer("GET", "*", tile)
    place = tmp_path / "thumbnail.png"
    assert size(keep_overview(place, info(), None, origin)) == (250, 150)
    calls = len(dpat.calls)
    assert keep_overview(place, info(), None, origin) == place
    assert len(dpat.calls) == calls
    assert list(tmp_path.iterdir()) == [place]


def test_of_a_cut_tile_the_overview_is_made_of_the_file(
    dpat: LittleDpat, origin: DpatOrigin, tmp_path: Path, sample_slides: Path
) -> None:
    dpat.answer("GET", "*", Reply(body=png(128, 60, "red")))
    made = keep_overview(tmp_path / "a.png", info(), sample_slides / "immuno.tiff", origin)
    assert size(made) == (24, 18)
    assert keep_overview(tmp_path / "b.png", info(), None, origin) is None


def test_none_is_made_where_none_is_wanted(tmp_path: Path, sample_slides: Path) -> None:
    assert keep_overview(None, ImageInfo(id="S-1"), sample_slides / "immuno.tiff", None) is None
    assert keep_overview(tmp_path / "a.png", ImageInfo(id="S-1"), None, None) is None


def test_what_spoils_more_than_the_overview_is_raised(dpat: LittleDpat, origin: DpatOrigin, tmp_path: Path) -> None:
    dpat.answer("GET", "*", Reply(401))
    with pytest.raises(TokenExpired):
        keep_overview(tmp_path / "a.png", info(), None, origin)
    (tmp_path / "x.svs").write_bytes(b"no slide")
    with pytest.raises(SlideUnreadable):
        keep_overview(tmp_path / "a.png", ImageInfo(id="S-1"), tmp_path / "x.svs", None)
