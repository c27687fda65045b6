from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import openslide
import pytest
from click.testing import CliRunner
from PIL import Image

from slidehook.simulator.dicom_sample import make_dicom
from slidehook.simulator.samples import main, make_label, make_tiff, sample_folder


def test_the_tiff_is_a_pyramid_with_the_stated_pixel_size(sample_slides: Path) -> None:
    with openslide.OpenSlide(sample_slides / "immuno.tiff") as slide:
        assert slide.dimensions == (6144, 4608)
        assert slide.level_count >= 4
        assert float(slide.properties["openslide.mpp-x"]) == 0.25
        assert float(slide.properties["openslide.mpp-y"]) == 0.25
        assert slide.properties["openslide.level[0].tile-width"] == "256"


def test_the_section_has_tissue_and_glass(sample_slides: Path) -> None:
    with openslide.OpenSlide(sample_slides / "immuno.tiff") as slide:
        picture = np.asarray(slide.get_thumbnail((512, 512)).convert("RGB"), dtype=int)
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    assert border.min() > 225
    assert 0.15 < (picture.min(axis=2) < 190).mean() < 0.7


@pytest.mark.parametrize("name", ["level-0.dcm", "level-1.dcm", "level-2.dcm", "label.dcm"])
def test_any_dicom_instance_opens_the_whole_series(sample_slides: Path, name: str) -> None:
    with openslide.OpenSlide(sample_slides / "immuno-dicom" / name) as slide:
        assert slide.properties["openslide.vendor"] == "dicom"
        assert slide.level_dimensions == ((2048, 1536), (1024, 768), (512, 384))
        assert float(slide.properties["openslide.mpp-x"]) == 0.25
        assert "label" in slide.associated_images
        assert slide.read_region((900, 700), 0, (64, 64)).size == (64, 64)


def test_samples_are_reproducible(tmp_path: Path) -> None:
    for number in "12":
        make_tiff(tmp_path / f"{number}.tiff", width=700, height=500)
        make_dicom(tmp_path / number, width=600, height=400)
    assert (tmp_path / "1.tiff").read_bytes() == (tmp_path / "2.tiff").read_bytes()
    for file in (tmp_path / "1").iterdir():
        assert file.read_bytes() == (tmp_path / "2" / file.name).read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"1", "2", "1.tiff", "2.tiff"}


def test_a_complete_sample_folder_stays_unchanged(sample_slides: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in sample_slides.rglob("*")}
    sample_folder(sample_slides)
    assert {path: path.stat().st_mtime_ns for path in sample_slides.rglob("*")} == before


def test_the_label_is_a_jpeg(tmp_path: Path) -> None:
    make_label(tmp_path / "label.jpg")
    with Image.open(io.BytesIO((tmp_path / "label.jpg").read_bytes())) as picture:
        assert picture.format == "JPEG"


def test_the_command_prints_its_folder(sample_slides: Path) -> None:
    done = CliRunner().invoke(main, [str(sample_slides)])
    assert (done.exit_code, done.output.strip()) == (0, str(sample_slides))
