from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from openslide import PROPERTY_NAME_MPP_X
from PIL import Image

from slidehook import Slide
from slidehook.errors import SlideUnreadable
from slidehook.geometry import Frame
from slidehook.models import ImageInfo, Size
from slidehook.pixels.overview import thumbnail_of
from slidehook.slide import find_slide_file, open_slide

INFO = ImageInfo(id="immuno")


@pytest.fixture
def tiff(sample_slides: Path) -> Path:
    return sample_slides / "immuno.tiff"


def test_a_slide_tells_its_extent_and_gives_its_pixels(tiff: Path) -> None:
    with Slide(tiff, INFO) as slide:
        assert slide.frame == Frame(6144, 4608)
        assert slide.open() is slide.open()
        assert slide.open().read_region((0, 0), 0, (8, 8)).size == (8, 8)


def test_a_slide_can_be_opened_again_after_it_was_closed(tiff: Path) -> None:
    slide = Slide(tiff, INFO)
    slide.close()
    with slide:
        first = slide.open()
    with slide:
        assert slide.open() is not first


def test_an_overview_is_made_of_the_file_at_about_64_um_per_pixel(tiff: Path) -> None:
    with Slide(tiff, INFO) as slide:
        overview = slide.thumbnail()
    # 6144 x 4608 px of 0.25 µm are 1536 x 1152 µm.
    assert (overview.mode, overview.size) == ("RGB", (24, 18))


def test_dpats_own_overview_is_used_where_there_is_one(tiff: Path, tmp_path: Path) -> None:
    Image.new("L", (7, 5)).save(tmp_path / "thumbnail.png")
    overview = Slide(tiff, INFO, thumbnail=tmp_path / "thumbnail.png").thumbnail()
    assert (overview.mode, overview.size) == ("RGB", (7, 5))


@pytest.mark.parametrize("content", [b"", b"no slide", b"II*\0" + b"\xff" * 500])
def test_a_file_that_is_no_slide_is_unreadable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.svs").write_bytes(content)
    with pytest.raises(SlideUnreadable, match="cannot read the slide's file"):
        open_slide(tmp_path / "x.svs")
    with pytest.raises(SlideUnreadable, match="none of the slide's files"):
        find_slide_file(tmp_path)


def test_a_slide_cut_in_half_is_unreadable_or_says_so_when_it_is_read(tiff: Path, tmp_path: Path) -> None:
    content = tiff.read_bytes()
    (tmp_path / "half.tiff").write_bytes(content[: len(content) // 2])
    with pytest.raises(SlideUnreadable):
        Slide(tmp_path / "half.tiff", INFO).thumbnail()


@pytest.mark.parametrize("size", [None, Size(width=0, height=5), Size(width=5, height=-1)])
def test_without_a_file_and_a_size_there_is_no_extent(size: Size | None) -> None:
    with pytest.raises(SlideUnreadable, match="DPAT does not say how large the slide is"):
        _ = Slide(None, ImageInfo(id="immuno", image_size=size)).frame


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(SlideUnreadable):
        open_slide(tmp_path / "gone.svs")


def test_the_slides_file_is_found_among_its_companions(tiff: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("notes")
    (tmp_path / "b").mkdir()
    shutil.copy(tiff, tmp_path / "c.tiff")
    shutil.copy(tiff, tmp_path / "d.tiff")
    assert find_slide_file(tmp_path) == tmp_path / "c.tiff"


def test_any_instance_of_a_dicom_series_opens_the_whole(sample_slides: Path) -> None:
    folder = sample_slides / "immuno-dicom"
    found = find_slide_file(folder)
    extents = set()
    for path in [found, *folder.glob("*.dcm")]:
        with Slide(path, INFO) as slide:
            extents.add(slide.frame)
    assert len(extents) == 1


@pytest.mark.parametrize("mpp", ["inf", "nan", "0", "-1", "unknown", "5e-324"])
def test_a_pixel_size_that_makes_no_sense_still_gives_an_overview(
    tiff: Path, monkeypatch: pytest.MonkeyPatch, mpp: str
) -> None:
    monkeypatch.setattr("slidehook.slide.OpenSlide.properties", {PROPERTY_NAME_MPP_X: mpp})
    with open_slide(tiff) as slide:
        assert max(thumbnail_of(slide).size) <= 512
