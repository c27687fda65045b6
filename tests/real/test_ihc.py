"""`ihc` on real fields with DAB whose nuclei were counted, on the same in other chromogens, and on H&E."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openslide import OpenSlide
from PIL import Image

from slidehook import Result
from slidehook.measuring.glass import glass_colour
from slidehook.measuring.stains import HAEMATOXYLIN, Deconvolution
from slidehook.pixels.source import Pixels
from tests.apps.ihc_runs import WHOLE, analysed, areas
from tests.apps.slides import write_slide
from tests.measuring.test_chromogen import OTHERS, recoloured

MPP = 0.25
"""µm per pixel of the fields in `ki67`."""
FIELDS = ("22_2", "34_3")


def field(real_slides: Path, name: str) -> Pixels:
    return np.asarray(Image.open(real_slides / "ki67" / f"{name}.png").convert("RGB"))


def counted(path: Path, pixels: Pixels, *, mpp: float = MPP, quality: int = 90, **params: Any) -> Result:
    return analysed(write_slide(path / "slide.tiff", pixels, mpp=mpp, quality=quality), areas(WHOLE), **params)


def assert_other_stain(result: Result) -> None:
    assert result.text == "not counted: the region is not stained with haematoxylin and DAB"
    assert not {"Nuclei", "Positive (%)", "DAB area (%)"} & result.properties.keys()


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("chromogen", OTHERS)
def test_a_real_field_in_another_chromogen_is_refused(
    real_slides: Path, tmp_path: Path, name: str, keep: bool, chromogen: str
) -> None:
    pixels = field(real_slides, name)
    white = glass_colour(pixels)
    assert white
    assert_other_stain(counted(tmp_path, recoloured(pixels, OTHERS[chromogen], white=white, keep=keep)))


def test_every_real_h_and_e_is_refused(real_slides: Path, tmp_path: Path) -> None:
    files = sorted((real_slides / "he").iterdir())
    assert files
    for each in files:
        if each.suffix == ".png":
            pixels = np.asarray(Image.open(each).convert("RGB"))
        else:
            with OpenSlide(each) as slide:
                columns, rows = (min(length, 1536) for length in slide.dimensions)
                pixels = np.asarray(slide.read_region((0, 0), 0, (columns, rows)).convert("RGB"))
        assert_other_stain(counted(tmp_path, pixels, mpp=0.5))


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("quality", [40, 90])
def test_real_dab_is_never_refused_nor_is_a_part_of_it_without_any(
    real_slides: Path, tmp_path: Path, name: str, quality: int
) -> None:
    pixels = field(real_slides, name)
    for colour in ((1.0, 1.0, 1.0), (1.03, 1.0, 0.97), (0.97, 1.0, 1.03)):
        shifted = np.rint(pixels * np.array(colour)).clip(0, 255).astype(np.uint8)
        for rows, columns in (
            (slice(None), slice(None)),
            (slice(256), slice(256, None)),
            (slice(150, 400), slice(300, None)),
        ):
            result = counted(tmp_path, np.ascontiguousarray(shifted[rows, columns]), quality=quality)
            assert "Positive (%)" in result.properties, result.text


@pytest.mark.parametrize(("name", "percent", "within"), [("22_2", 7.5, 1.0), ("34_3", 21.2, 5.0)])
def test_the_percentage_of_a_real_field_is_near_the_counted_one(
    real_slides: Path, tmp_path: Path, name: str, percent: float, within: float
) -> None:
    found = counted(tmp_path, field(real_slides, name), quality=95).properties["Positive (%)"]
    assert found == pytest.approx(percent, abs=within)
    assert "Haematoxylin" not in counted(tmp_path, field(real_slides, name)).properties


def test_where_haematoxylin_is_too_weak_a_row_says_so_or_there_is_no_number(
    real_slides: Path, tmp_path: Path
) -> None:
    pixels = field(real_slides, "34_3")
    white = np.array(glass_colour(pixels))
    stained = Deconvolution(white=(float(white[0]), float(white[1]), float(white[2])))(pixels)
    blue = np.array(HAEMATOXYLIN) / np.linalg.norm(HAEMATOXYLIN)
    for left in (0.4, 0.2, 0.0):
        without = ((1 - left) * stained.first.clip(0))[..., None] * blue
        weak = np.rint(pixels * 10**without).clip(0, 255).astype(np.uint8)
        table = counted(tmp_path, weak).properties
        assert "Positive (%)" not in table or str(table["Haematoxylin"]).startswith("weak"), (left, table)
