from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from openslide import OpenSlide
from PIL import Image

from slidehook import AppError, Quality, Result, Slide
from slidehook.apps.focus import CELL_PX, LEAST_TISSUE, TILE_CELLS, Focus, FocusParams, judging_mpp, structure
from slidehook.errors import PixelSizeUnknown
from slidehook.models import ImageInfo
from slidehook.pixels.source import Pixels
from slidehook.running.run_app import run_app
from tests.apps.slides import (
    GLASS,
    Watched,
    documented,
    gaussian,
    glass,
    restained,
    small_tissue,
    tiled,
    tissue,
    write_slide,
)
from tests.apps.test_tissue import marked, overlap

MPP = 0.5
ROWS, COLUMNS = 3300, 4700
TOP, LEFT, HIGH, WIDE = 500, 600, 2300, 3500
MM2 = (MPP / 1000) ** 2
MIDDLE = LEFT + WIDE // 2
LEFT_HALF = shapely.box(LEFT, TOP, MIDDLE, TOP + HIGH)
BLUR_UM = 1.5


def blurred(pixels: Pixels, *, um: float, mpp: float = MPP) -> Pixels:
    """Blur like a lens that is out of focus: by a Gaussian of this standard deviation."""
    return gaussian(pixels, um / mpp).clip(0, 255).astype(np.uint8)


def section(texture: Pixels, *, blur_um: float = BLUR_UM, until: int = MIDDLE) -> Pixels:
    """A slide with a rectangle of tissue, blurred from its left up to the column `until`."""
    pixels = glass(ROWS, COLUMNS)
    pixels[TOP : TOP + HIGH, LEFT : LEFT + WIDE] = texture[:HIGH, :WIDE]
    if blur_um:
        reach = round(4 * blur_um / MPP) + 1  # farther than that it changes nothing
        near = pixels[TOP - reach : TOP + HIGH + reach, LEFT - reach : until + reach]
        near[:, : until - LEFT + reach] = blurred(near, um=blur_um)[:, : until - LEFT + reach]
    return pixels


@pytest.fixture(scope="module")
def half_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = section(small_tissue(HIGH, WIDE))
    return write_slide(tmp_path_factory.mktemp("half") / "half.tiff", pixels, mpp=MPP, quality=90)


@pytest.fixture(scope="module")
def sharp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = section(small_tissue(HIGH, WIDE), blur_um=0)
    return write_slide(tmp_path_factory.mktemp("sharp") / "sharp.tiff", pixels, mpp=MPP, quality=90)


def analysed(path: Path, info: ImageInfo | None = None, **params: Any) -> Result:
    app = Focus()
    app.params = FocusParams(**params)
    with Slide(path, info or ImageInfo(id="S-1")) as slide:
        return run_app(app, slide, lambda *_: None)


def number(result: Result, name: str) -> float:
    return float(result.properties[name])


# --- what is blurred


def test_the_blurred_half_is_found_and_outlined(half_path: Path) -> None:
    result = analysed(half_path)
    assert number(result, "Blurred (mm²)") == pytest.approx(LEFT_HALF.area * MM2, rel=0.05)
    assert number(result, "In focus (%)") == pytest.approx(50, abs=2.5)
    assert result.text == f"{number(result, 'In focus (%)'):g} % in focus"
    assert overlap(marked(result), LEFT_HALF) > 0.93
    assert number(result, "Judged (mm²)") == pytest.approx(HIGH * WIDE * MM2, rel=0.03)
    assert number(result, "Analysed area (mm²)") == pytest.approx(HIGH * WIDE * MM2, rel=0.03)


TISSUES = {
    "strong DAB": ("DAB", 1.3),
    "pale DAB": ("DAB", 0.5),
    "H&E": ("H&E", 1.0),
    "pale H&E": ("H&E", 0.5),
    "haematoxylin": ("haematoxylin", 1.5),
}


@pytest.mark.parametrize("kind", TISSUES)
@pytest.mark.parametrize("lamp", [(1.0, 1.0, 1.0), (0.8, 0.78, 0.7)])
def test_other_stains_and_lamps_make_no_difference(
    tmp_path: Path, kind: str, lamp: tuple[float, float, float]
) -> None:
    stain, strength = TISSUES[kind]
    block = restained(small_tissue(512, 512), stain, strength=strength)
    light = np.rint(np.arange(256)[:, None] * np.array(lamp)).astype(np.uint8)
    pixels = section(tiled(block, HIGH, WIDE))
    lit = np.stack([light[pixels[..., channel], channel] for channel in range(3)], axis=-1)
    path = write_slide(tmp_path / "slide.tiff", lit, mpp=MPP)
    result = analysed(path)
    assert number(result, "Blurred (mm²)") == pytest.approx(LEFT_HALF.area * MM2, rel=0.05)
    assert number(result, "Judged (mm²)") == pytest.approx(HIGH * WIDE * MM2, rel=0.03)


def test_noise_does_not_look_sharp(tmp_path: Path) -> None:
    pixels = section(small_tissue(HIGH, WIDE))
    noise = np.random.default_rng(1).normal(0, 3, pixels.shape[:2])[..., None]
    path = write_slide(tmp_path / "slide.tiff", np.rint(pixels + noise).clip(0, 255).astype(np.uint8), mpp=MPP)
    assert number(analysed(path), "Blurred (mm²)") == pytest.approx(LEFT_HALF.area * MM2, rel=0.05)


def test_a_slide_scanned_at_twice_the_magnification_is_judged_alike(tmp_path: Path) -> None:
    pixels = glass(2600, 4200)
    pixels[300:2300, 400:3800] = tissue(2000, 3400)
    pixels[:, :2100] = blurred(pixels, um=BLUR_UM, mpp=0.25)[:, :2100]
    result = analysed(write_slide(tmp_path / "slide.tiff", pixels, mpp=0.25))
    assert number(result, "Blurred (mm²)") == pytest.approx(2000 * 1700 * 0.25e-3**2, rel=0.05)


def test_sharp_tissue_is_in_focus(sharp_path: Path, sample_slides: Path) -> None:
    for path in (sharp_path, sample_slides / "immuno.tiff"):
        result = analysed(path)
        assert number(result, "In focus (%)") == 100
        assert result.shapes == []


def test_a_slide_that_is_blurred_all_over_has_nothing_in_focus(tmp_path: Path) -> None:
    pixels = section(small_tissue(HIGH, WIDE), blur_um=2, until=COLUMNS)
    result = analysed(write_slide(tmp_path / "slide.tiff", pixels, mpp=MPP))
    assert number(result, "In focus (%)") < 1
    assert overlap(marked(result), shapely.box(LEFT, TOP, LEFT + WIDE, TOP + HIGH)) > 0.95


@pytest.mark.parametrize(("um", "in_focus"), [(0.4, 100), (1.0, 0)])
def test_half_a_micrometre_goes_unseen_and_a_whole_one_is_found(tmp_path: Path, um: float, in_focus: int) -> None:
    pixels = section(small_tissue(HIGH, WIDE), blur_um=um, until=COLUMNS)
    result = analysed(write_slide(tmp_path / "slide.tiff", pixels, mpp=MPP, quality=90))
    assert number(result, "In focus (%)") == pytest.approx(in_focus, abs=3)


def test_small_blurred_parts_are_counted_but_not_outlined(half_path: Path) -> None:
    result = analysed(half_path, smallest_mm2=1.0)
    assert result.shapes == []
    assert number(result, "Blurred (mm²)") > 0.4


# --- what can't be judged


def test_tissue_without_detail_is_not_judged(tmp_path: Path) -> None:
    pixels = glass(1500, 2000)
    pixels[300:1200, 300:1700] = (225, 205, 215)
    even = blurred(pixels, um=20)
    result = analysed(write_slide(tmp_path / "slide.tiff", even, mpp=MPP, quality=100), set_quality=True)
    assert result.text == "nothing to judge: no tissue with detail"
    assert result.quality is None
    assert "without detail" in str(result.properties["Tiles skipped"])
    assert result.properties["Analysed area (mm²)"] == 0
    assert number(result, "Tissue (mm²)") == pytest.approx(900 * 1400 * MM2, rel=0.05)


def test_an_empty_slide_has_nothing_to_judge(tmp_path: Path) -> None:
    result = analysed(write_slide(tmp_path / "slide.tiff", glass(1500, 2000), mpp=MPP))
    assert result.text == "nothing to judge: no tissue with detail"
    assert (result.properties["Tissue (mm²)"], result.properties["Tiles read"]) == (0, 0)
    assert result.properties["Tiles skipped"] == f"{6 * 8 // 4} with too little tissue"


def test_without_a_pixel_size_there_is_no_number(tmp_path: Path) -> None:
    # What is written without a resolution is read as one pixel per millimetre.
    path = write_slide(tmp_path / "slide.tiff", glass(600, 600), mpp=1000)
    with pytest.raises(PixelSizeUnknown, match="1000 µm per pixel, which no scanner makes"):
        analysed(path)


def test_where_file_and_record_disagree_there_is_no_number(half_path: Path) -> None:
    with pytest.raises(PixelSizeUnknown, match=r"but DPAT states 0\.25"):
        analysed(half_path, ImageInfo(id="S-1", microns_per_pixel=0.25))


def test_a_slide_that_is_too_coarse_fails_with_the_reason(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "slide.tiff", glass(600, 600), mpp=1.1)
    with pytest.raises(AppError, match=r"can't be judged at 1\.10 µm per pixel: 0\.5 or less is needed"):
        analysed(path)


@pytest.mark.parametrize(
    ("own", "wanted", "judged"),
    [(0.25, 0.5, 0.5), (0.5, 0.5, 0.5), (0.23, 0.5, 0.46), (0.16, 0.5, 0.64), (0.7, 0.5, 0.7)],
)
def test_it_judges_at_the_slides_own_pixels_or_whole_squares_of_them(
    own: float, wanted: float, judged: float
) -> None:
    assert judging_mpp(own, wanted) == pytest.approx(judged)


# --- quality control


@pytest.mark.parametrize(
    ("params", "quality"),
    [
        ({}, None),
        ({"set_quality": True}, Quality.REJECTED),
        ({"set_quality": True, "min_percent_in_focus": 40}, Quality.OK),
    ],
)
def test_quality_is_set_where_the_site_wants_it(
    half_path: Path, params: dict[str, Any], quality: Quality | None
) -> None:
    assert analysed(half_path, **params).quality == quality


@pytest.mark.parametrize("um", [5.0, 10.0, 15.0, 20.0, 30.0])
def test_a_slide_half_of_which_has_lost_all_detail_is_never_ok(tmp_path: Path, um: float) -> None:
    pixels = section(tissue(HIGH, WIDE), blur_um=um)[: 1500 + TOP, : MIDDLE + 1500]
    noise = np.random.default_rng(1).normal(0, 2, pixels.shape)
    path = write_slide(
        tmp_path / "slide.tiff", np.rint(pixels + noise).clip(0, 255).astype(np.uint8), mpp=MPP, quality=90
    )
    result = analysed(path, set_quality=True)
    assert result.quality != Quality.OK
    judged = 100 * number(result, "Judged (mm²)") / number(result, "Tissue (mm²)")
    assert ("that could be judged" in result.text) == (judged < 90), result.text
    if result.quality is None:
        said = re.fullmatch(r"([0-9.]+) % in focus of the (\d+) % that could be judged", result.text)
        assert said, result.text
        assert float(said[1]) == number(result, "In focus (%)")
        assert float(said[2]) == pytest.approx(judged, abs=1)


def test_a_sharp_slide_is_ok(sharp_path: Path) -> None:
    result = analysed(sharp_path, set_quality=True)
    assert (result.text, result.quality) == ("100 % in focus", Quality.OK)


# --- reading


def test_tiles_without_tissue_are_never_read(sharp_path: Path) -> None:
    with OpenSlide(sharp_path) as opened:
        source = Watched(opened)
        with Slide(sharp_path, ImageInfo(id="S-1"), pixels=source) as slide:
            result = run_app(Focus(), slide, lambda *_: None)
    side = TILE_CELLS * CELL_PX
    read = [box for box, columns in source.parts if columns == side]
    # What touches the tissue, or nearly so: its outline may be off by a pixel of the overview.
    near = shapely.box(LEFT, TOP, LEFT + WIDE, TOP + HIGH).buffer(16)
    assert all(near.intersects(shapely.box(box.x, box.y, box.x + side, box.y + side)) for box in read)
    # The tissue reaches 4 pixels into an eighth column of tiles: too few for any cell there to be judged.
    assert (LEFT + WIDE) % side < CELL_PX * LEAST_TISSUE
    assert len(read) == result.properties["Tiles read"] == 7 * 5
    assert {(box.x // side, box.y // side) for box in read} == {(x, y) for x in range(1, 8) for y in range(1, 6)}
    assert result.properties["Tiles skipped"] == f"{10 * 7 - 7 * 5} with too little tissue"


def test_progress_grows_to_the_end(half_path: Path) -> None:
    told: list[float] = []
    with Slide(half_path, ImageInfo(id="S-1")) as slide:
        Focus().analyze(slide, lambda percent, _="": told.append(percent))
    assert told == sorted(told)
    assert told[0] == 0
    assert told[-1] == 95


# --- the exponent


@pytest.mark.parametrize("um", [0.0, 0.5, 1.0, 2.0])
def test_the_exponent_depends_on_blur_alone(um: float) -> None:
    sharp = small_tissue(512, 512)
    plain = structure(blurred(sharp, um=um))[0]
    pale = structure((128 + blurred(sharp, um=um).astype(float) / 2).astype(np.uint8))[0]
    noise = np.random.default_rng(1).normal(0, 3, (512, 512, 1))
    noisy = structure(np.rint(blurred(sharp, um=um) + noise).clip(0, 255).astype(np.uint8))[0]
    assert np.median(pale) == pytest.approx(np.median(plain), abs=0.1)
    assert np.median(noisy) == pytest.approx(np.median(plain), abs=0.15)


def test_the_exponent_grows_with_blur() -> None:
    sharp = small_tissue(512, 512)
    found = [float(np.median(structure(blurred(sharp, um=um))[0])) for um in (0, 0.25, 0.5, 0.75, 1, 1.5, 2)]
    assert found == sorted(found)
    assert found[0] < 0.8
    assert found[4] > 1.5
    assert found[-1] < 2.05


def test_an_edge_has_the_exponent_1_and_a_slope_2() -> None:
    for place in range(10, 50):
        edge = np.full((64, 64, 3), 200, np.uint8)
        edge[:, place:] = 100
        slope = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None, None] * 3, (64, 64, 3))
        for one, other in ((edge, slope), (edge.swapaxes(0, 1), slope.swapaxes(0, 1))):
            assert structure(one)[0][0, 0] == pytest.approx(1, abs=0.1)
            assert structure(other)[0][0, 0] == pytest.approx(2, abs=0.01)


def test_an_even_cell_has_no_texture() -> None:
    exponent, texture = structure(np.full((128, 64, 3), GLASS, np.uint8))
    assert exponent.shape == texture.shape == (2, 1)
    assert (texture == 0).all()
    assert np.isposinf(exponent).all()


def test_cells_are_judged_one_by_one() -> None:
    picture = small_tissue(512, 512)
    picture[:, :256] = np.asarray(Image.fromarray(blurred(picture, um=1.5)))[:, :256]
    exponent, _ = structure(picture)
    assert exponent[:, :4].min() > exponent[:, 4:].max()


def test_the_documents_toml_says_what_is_the_case_anyhow() -> None:
    assert documented("focus") == FocusParams().model_dump()
