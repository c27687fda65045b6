from __future__ import annotations

from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from slidehook import AppError, Frame, Slide, local_slide
from slidehook.errors import PixelSizeUnknown, SlideUnreadable
from slidehook.folder.local_slide import local_file, local_id, local_info
from slidehook.models import ImageInfo


def write(path: Path, *, mpp: float | tuple[float, float] | None = 0.25) -> Path:
    """Write a grey slide of 600 x 500 pixels that says `mpp` (across and down), or nothing, of its pixels."""
    across, down = mpp if isinstance(mpp, tuple) else (mpp or 1.0, mpp or 1.0)
    tifffile.imwrite(
        path,
        np.full((500, 600, 3), 128, np.uint8),
        tile=(256, 256),
        photometric="rgb",
        metadata=None,
        resolution=(1e4 / across, 1e4 / down),
        resolutionunit="CENTIMETER" if mpp is not None else "NONE",
    )
    return path


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    return write(tmp_path / "grey.tiff")


def test_its_record_says_what_the_file_says(grey: Path) -> None:
    info = local_info(grey)
    assert info.id == "grey"
    assert info.microns_per_pixel == pytest.approx(0.25)
    assert info.image_size is not None
    assert (info.image_size.width, info.image_size.height) == (600, 500)
    assert info.file_format is not None
    assert info.file_format.mime_type == "image/generic-tiff"


def test_a_dicom_series_is_a_folder(sample_slides: Path) -> None:
    folder = sample_slides / "immuno-dicom"
    info = local_info(folder)
    assert info.id == "immuno-dicom"
    assert info.file_format is not None
    assert info.file_format.mime_type == "application/dicom"
    with local_slide(folder) as slide:
        assert slide.read(0, 0, 64, 64, mpp=1.0).shape == (16, 16, 3)


def test_an_id_is_never_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_id(Path()) == tmp_path.name
    assert local_id(Path("/")) == "slide"


def test_a_pixel_size_is_told_for_a_file_that_says_none(tmp_path: Path) -> None:
    path = write(tmp_path / "untold.tiff", mpp=None)
    with local_slide(path) as slide, pytest.raises(PixelSizeUnknown, match="neither the slide's file nor the caller"):
        _ = slide.mpp
    with local_slide(path, mpp=0.5) as slide:
        assert (slide.mpp, slide.pixel_size.source) == (0.5, "the caller")


def test_a_told_pixel_size_that_the_file_contradicts_is_not_believed(grey: Path) -> None:
    with local_slide(grey, mpp=0.5) as slide, pytest.raises(PixelSizeUnknown, match=r"but the caller states 0\.5"):
        _ = slide.mpp


def test_pixels_that_are_not_square_are_not_measured(tmp_path: Path) -> None:
    path = write(tmp_path / "oblong.tiff", mpp=(0.25, 0.5))
    with local_slide(path) as slide, pytest.raises(PixelSizeUnknown, match="not square"):
        _ = slide.mpp


@pytest.mark.parametrize("dpi", [72, 96, 300])
def test_a_resolution_that_no_scanner_makes_counts_as_not_said(tmp_path: Path, dpi: int) -> None:
    path = write(tmp_path / "placeholder.tiff", mpp=25400 / dpi)
    assert local_info(path).microns_per_pixel is None
    with local_slide(path) as slide, pytest.raises(PixelSizeUnknown, match="which no scanner makes, and the caller"):
        _ = slide.mpp
    with local_slide(path, mpp=0.5) as slide:
        assert (slide.mpp, slide.pixel_size.source) == (0.5, "the caller")
        assert max(slide.thumbnail().size) <= 512
    with Slide(path, ImageInfo(id="S-1", microns_per_pixel=0.25)) as slide:
        assert (slide.mpp, slide.pixel_size.source) == (0.25, "DPAT")


def test_a_pixel_size_that_the_objective_contradicts_counts_as_not_said(tmp_path: Path) -> None:
    path = tmp_path / "odd.svs"
    tifffile.imwrite(
        path,
        np.full((500, 600, 3), 128, np.uint8),
        tile=(256, 256),
        photometric="rgb",
        metadata=None,
        description="Aperio Image Library v12\r\n600x500 |AppMag = 4|MPP = 0.25",
    )
    with local_slide(path) as slide, pytest.raises(PixelSizeUnknown, match="its own objective of 4x"):
        _ = slide.mpp
    with local_slide(path, mpp=2.5) as slide:
        assert (slide.mpp, slide.pixel_size.source) == (2.5, "the caller")


@pytest.mark.parametrize("needs", [{"tiles"}, {"thumbnail"}, set()])
def test_without_files_among_its_needs_an_app_gets_pixels_but_no_file(grey: Path, needs: set[str]) -> None:
    with local_slide(grey, needs=needs) as slide:
        assert slide.path is None
        assert slide.frame == Frame(600, 500)
        assert slide.mpp == pytest.approx(0.25)
        assert slide.pixel_size.source == "file"
        assert len(list(slide.tiles(mpp=0.5, size=100))) == 9
        with pytest.raises(AppError, match="not among its `needs`"):
            slide.open()
        if "thumbnail" in needs:
            assert slide.thumbnail().size == (2, 2)
        else:
            with pytest.raises(AppError):
                slide.thumbnail()


def test_with_files_an_app_gets_the_file(grey: Path) -> None:
    with local_slide(grey, needs={"files"}) as slide:
        assert slide.path == grey
        assert slide.open().dimensions == (600, 500)
        assert slide.thumbnail().mode == "RGB"


def test_the_label_is_given_where_it_may_be(grey: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    label = {"label": Image.new("RGBA", (8, 6), "red")}
    monkeypatch.setattr(openslide.OpenSlide, "associated_images", label)
    for needs, allowed, given in [({"label"}, True, True), ({"label"}, False, False), ({"files"}, True, False)]:
        with local_slide(grey, needs=needs, with_label=allowed) as slide:
            assert (slide.label() is not None) is given


def test_a_slide_without_a_label_has_none(grey: Path) -> None:
    with local_slide(grey, needs={"label"}, with_label=True) as slide:
        assert slide.label() is None


def test_what_is_no_slide_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no slide")
    with pytest.raises(SlideUnreadable, match="cannot read the slide's file"):
        local_info(tmp_path / "notes.txt")
    with pytest.raises(SlideUnreadable, match="there is no slide at"):
        local_file(tmp_path / "gone.svs")
    with pytest.raises(SlideUnreadable, match="none of the slide's files"):
        local_file(tmp_path)
