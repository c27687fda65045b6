from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from openslide import OpenSlide
from PIL import Image, ImageDraw, ImageFilter
from shapely import Polygon

from slidehook import Result, Slide
from slidehook.apps.tissue import Tissue, TissueParams
from slidehook.errors import PixelSizeUnknown
from slidehook.measuring.tissue import overview, tissue_mask
from slidehook.models import ImageInfo
from slidehook.pixels.file_pixels import FilePixels, stated_mpp
from slidehook.pixels.source import Pixels
from slidehook.running.run_app import run_app
from slidehook.simulator.options import Options
from slidehook.simulator.server import Simulator
from tests.apps.slides import GLASS, Watched, documented, glass, restained, small_tissue, write_slide
from tests.origins import dpat_origin

MPP = 1.0
ROWS, COLUMNS = 2000, 3000
TOP, LEFT, HIGH, WIDE = 300, 450, 1300, 2000
"""Where the tissue lies on the slides here, in pixels."""
MM2 = (MPP / 1000) ** 2
AREA_MM2 = HIGH * WIDE * MM2
RECTANGLE = shapely.box(LEFT, TOP, LEFT + WIDE, TOP + HIGH)
BLUE, GREEN, RED, BLACK = (40, 70, 175), (30, 120, 80), (190, 40, 50), (30, 30, 38)


@pytest.fixture(scope="module")
def section() -> Pixels:
    """A slide with a rectangle of tissue."""
    pixels = glass(ROWS, COLUMNS)
    pixels[TOP : TOP + HIGH, LEFT : LEFT + WIDE] = small_tissue(HIGH, WIDE, shrink=4)
    return pixels


@pytest.fixture(scope="module")
def section_path(section: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("section") / "section.tiff", section, mpp=MPP)


def analysed(path: Path, info: ImageInfo | None = None, **params: Any) -> Result:
    app = Tissue()
    app.params = TissueParams(**params)
    with OpenSlide(path) as opened:
        # Exactly 1 µm counts only where the record says so too.
        told = MPP if stated_mpp(opened) == (MPP, MPP) else None
    with Slide(path, info or ImageInfo(id="S-1", microns_per_pixel=told)) as slide:
        return run_app(app, slide, lambda *_: None)


def area_mm2(result: Result) -> float:
    return float(result.properties["Tissue (mm²)"])


def marked(result: Result) -> shapely.Geometry:
    """Return what the shapes enclose: outlines and holes by turns."""
    rings = [Polygon([(point.x, point.y) for point in each.points]) for each in result.shapes]
    enclosed: shapely.Geometry = Polygon()
    for ring in rings:
        enclosed = shapely.symmetric_difference(enclosed, ring)
    return enclosed


def overlap(one: shapely.Geometry, other: shapely.Geometry) -> float:
    return float(shapely.intersection(one, other).area / shapely.union(one, other).area)


def with_line(
    pixels: Pixels,
    colour: tuple[int, int, int],
    points: Sequence[tuple[float, float]],
    *,
    width: int,
    soft: float = 3.0,
) -> Pixels:
    """Draw a felt pen's stroke, through which what is below it can be seen, with a soft edge."""
    canvas = Image.new("L", (pixels.shape[1], pixels.shape[0]), 0)
    ImageDraw.Draw(canvas).line(points, fill=255, width=width, joint="curve")
    cover = np.asarray(canvas.filter(ImageFilter.GaussianBlur(soft)), np.float32)[..., None] / 255
    through = pixels * (np.array(colour, np.float32) / GLASS)
    drawn: Pixels = np.rint(pixels * (1 - cover) + through * cover).astype(np.uint8)
    return drawn


def with_dark_edge(pixels: Pixels, *, wide: int) -> Pixels:
    """Darken the left and the upper edge, as where a scanner sees the slide's holder."""
    y, x = np.indices(pixels.shape[:2], np.float32)
    light = np.clip((np.minimum(x, y) - wide) / 30, 0, 1)[..., None]
    dark: Pixels = np.rint(pixels * light + np.array((14, 12, 13), np.float32) * (1 - light)).astype(np.uint8)
    return dark


# --- what is tissue


def test_tissue_is_outlined_and_measured(section_path: Path) -> None:
    result = analysed(section_path)
    assert area_mm2(result) == pytest.approx(AREA_MM2, rel=0.03)
    assert result.text == f"{area_mm2(result):.2f} mm² tissue"
    assert overlap(marked(result), RECTANGLE) > 0.97
    assert result.properties["Pieces"] == 1
    assert result.properties["Tissue (% of the slide)"] == pytest.approx(
        100 * AREA_MM2 / (ROWS * COLUMNS * MM2), rel=0.03
    )
    assert result.properties["Pixel size (µm)"] == MPP
    assert result.properties["Analysed area (mm²)"] == pytest.approx(ROWS * COLUMNS * MM2, abs=0.001)


LAMPS = {
    "usual": (1.0, 1.0, 1.0),
    "dim": (0.85, 0.85, 0.85),
    "warm": (1.0, 0.99, 0.93),
    "over-exposed": (1.05, 1.05, 1.05),
}


@pytest.mark.parametrize("lamp", LAMPS)
@pytest.mark.parametrize(
    ("stain", "strength"), [("DAB", 0.6), ("DAB", 1.3), ("H&E", 0.5), ("H&E", 1.0), ("haematoxylin", 1.5)]
)
def test_other_stains_strengths_and_lamps_make_no_difference(
    section: Pixels, stain: str, strength: float, lamp: str
) -> None:
    # At the size that the app reads, for speed.
    pixels = np.asarray(Image.fromarray(section).reduce(2))
    small = Image.fromarray(restained(pixels, stain, strength=strength, lamp=LAMPS[lamp])).reduce(4)
    found = tissue_mask(np.asarray(small), mpp=8.0)
    assert found.sum() * (8e-3) ** 2 == pytest.approx(AREA_MM2, rel=0.03)


@pytest.mark.parametrize("mpp", [2.0, 4.0, 16.0])
def test_the_overviews_size_makes_no_difference(section_path: Path, mpp: float) -> None:
    assert area_mm2(analysed(section_path, mpp=mpp)) == pytest.approx(AREA_MM2, rel=0.03)


def test_a_real_outline_is_followed(sample_slides: Path) -> None:
    result = analysed(sample_slides / "immuno.tiff")
    # Glass of the sample is never darker than this; counted at full size.
    with OpenSlide(sample_slides / "immuno.tiff") as slide:
        level = np.asarray(slide.read_region((0, 0), 4, slide.level_dimensions[4]).convert("RGB"))
    dark = (level.min(axis=2) < 225).mean() * 6144 * 4608 * 0.25e-3**2
    assert area_mm2(result) == pytest.approx(dark, rel=0.1)


# --- what is none


@pytest.mark.parametrize("colour", [BLUE, GREEN, RED, BLACK])
def test_pen_marks_are_no_tissue(section: Pixels, tmp_path: Path, colour: tuple[int, int, int]) -> None:
    # One stroke beside the tissue, and one across its corner.
    across = [(150, 700), (850, 150)]
    beside = [(500, 1800), (2000, 1750), (2800, 1850)]
    pixels = with_line(with_line(section, colour, beside, width=120), colour, across, width=100)
    result = analysed(write_slide(tmp_path / "pen.tiff", pixels, mpp=MPP), smallest_mm2=0)
    true = RECTANGLE.difference(shapely.LineString(across).buffer(50))
    assert area_mm2(result) == pytest.approx(true.area * MM2, rel=0.03)
    stroke = shapely.LineString(beside).buffer(75)
    assert shapely.intersection(marked(result), stroke).area == 0


def test_where_pens_are_not_looked_for_their_marks_count(section: Pixels, tmp_path: Path) -> None:
    pixels = with_line(section, BLUE, [(500, 1800), (2800, 1800)], width=120)
    result = analysed(write_slide(tmp_path / "pen.tiff", pixels, mpp=MPP), pens=False)
    assert area_mm2(result) == pytest.approx(AREA_MM2 + 2300 * 120 * MM2, rel=0.03)


def test_the_slides_dark_edge_is_no_tissue(section: Pixels, tmp_path: Path) -> None:
    result = analysed(write_slide(tmp_path / "edge.tiff", with_dark_edge(section, wide=125), mpp=MPP))
    assert area_mm2(result) == pytest.approx(AREA_MM2, rel=0.03)


def test_tissue_under_the_dark_edge_is_not_counted(section: Pixels, tmp_path: Path) -> None:
    result = analysed(write_slide(tmp_path / "edge.tiff", with_dark_edge(section, wide=500), mpp=MPP))
    seen = RECTANGLE.intersection(shapely.box(500, 500, COLUMNS, ROWS))
    # Beside it what is grey may be its shadow.
    clear = RECTANGLE.intersection(shapely.box(625, 625, COLUMNS, ROWS))
    assert 0.98 * clear.area * MM2 < area_mm2(result) < seen.area * MM2


def test_cover_slip_dust_and_shadows_are_no_tissue(section: Pixels, tmp_path: Path) -> None:
    pixels = with_line(section, (170, 170, 172), [(2850, 0), (2820, 2000)], width=20, soft=2)
    pixels = with_line(pixels, (205, 206, 208), [(0, 1900), (3000, 1925)], width=30, soft=2)
    rng = np.random.default_rng(1)
    for x, y in rng.uniform((0, 0), (COLUMNS, 250), (40, 2)):
        pixels[int(y) : int(y) + 10, int(x) : int(x) + 15] = (60, 55, 50)
    shade = 1 - 0.05 * (np.arange(COLUMNS) / COLUMNS) ** 2
    pixels = np.rint(pixels * shade[:, None]).astype(np.uint8)
    result = analysed(write_slide(tmp_path / "dirty.tiff", pixels, mpp=MPP))
    assert area_mm2(result) == pytest.approx(AREA_MM2, rel=0.03)
    assert result.properties["Pieces"] == 1


def test_a_slide_that_was_scanned_in_part_is_white_elsewhere(section: Pixels, tmp_path: Path) -> None:
    pixels = section.copy()
    pixels[:, 2600:] = 255
    pixels[1700:] = 255
    result = analysed(write_slide(tmp_path / "part.tiff", pixels, mpp=MPP))
    assert area_mm2(result) == pytest.approx(AREA_MM2, rel=0.03)


@cache
def empty_slides() -> dict[str, Pixels]:
    rng = np.random.default_rng(1)
    shape = (700, 900, 3)
    fade = np.linspace(190, 250, 900)[None, :, None]
    pictures = {
        "even": np.full(shape, GLASS, np.float64),
        "white": np.full(shape, 255.0),
        "noisy": GLASS + rng.normal(0, 3, shape),
        "tinted": np.array((242, 238, 222)) + rng.normal(0, 1, shape),
        "two shades": np.where(np.arange(900)[None, :, None] < 450, 255.0, (240.0, 240.0, 243.0)) + np.zeros(shape),
        "fading": fade + rng.normal(0, 1, shape),
    }
    return {name: np.rint(each).clip(0, 255).astype(np.uint8) for name, each in pictures.items()}


@pytest.mark.parametrize("name", empty_slides())
def test_an_empty_slide_has_no_tissue(name: str, tmp_path: Path) -> None:
    result = analysed(write_slide(tmp_path / "empty.tiff", empty_slides()[name], mpp=4.0), mpp=8.0)
    assert result.text == "no tissue found"
    assert result.shapes == []
    assert (result.properties["Tissue (mm²)"], result.properties["Pieces"]) == (0, 0)


def test_specks_of_black_pigment_lie_in_the_tissue(section: Pixels) -> None:
    small = np.asarray(Image.fromarray(section).reduce(8)).copy()
    rng = np.random.default_rng(1)
    for x, y in rng.integers((LEFT // 8 + 5, TOP // 8 + 5), ((LEFT + WIDE) // 8 - 5, (TOP + HIGH) // 8 - 5), (60, 2)):
        small[y : y + 3, x : x + 3] = 15
    assert tissue_mask(small, mpp=8.0).sum() * (8e-3) ** 2 == pytest.approx(AREA_MM2, rel=0.03)


def test_small_pieces_do_not_count_and_holes_are_left_out(tmp_path: Path) -> None:
    pixels = glass(ROWS, COLUMNS)
    texture = small_tissue(ROWS, COLUMNS, shrink=4)
    for top, left, side in [(150, 150, 1000), (150, 1500, 300), (150, 2000, 150), (1000, 2000, 40)]:
        pixels[top : top + side, left : left + side] = texture[top : top + side, left : left + side]
    pixels[500:750, 500:750] = GLASS
    path = write_slide(tmp_path / "pieces.tiff", pixels, mpp=MPP)
    sides_mm2 = [(1000**2 - 250**2) * MM2, 300**2 * MM2, 150**2 * MM2]
    result = analysed(path, smallest_mm2=0.05)
    assert result.properties["Pieces"] == 2
    assert area_mm2(result) == pytest.approx(sum(sides_mm2[:2]), rel=0.04)
    assert [each.name for each in result.shapes] == ["", "hole", ""]
    result = analysed(path, smallest_mm2=0)
    assert result.properties["Pieces"] == 3
    assert area_mm2(result) == pytest.approx(sum(sides_mm2), rel=0.04)


# --- pixel size


class OfNoSize(FilePixels):
    """A slide that says nothing of its pixels' size."""

    stated_mpp = None


def test_without_a_pixel_size_there_is_no_number(section_path: Path) -> None:
    info = ImageInfo.model_validate({"id": "S-1", "imageSize": {"width": COLUMNS, "height": ROWS}})
    with (
        OpenSlide(section_path) as opened,
        Slide(None, info, pixels=OfNoSize(opened)) as slide,
        pytest.raises(PixelSizeUnknown, match="neither"),
    ):
        Tissue().analyze(slide, lambda *_: None)


def test_where_file_and_record_disagree_there_is_no_number(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "slide.tiff", glass(300, 300), mpp=0.8)
    with pytest.raises(PixelSizeUnknown, match=r"file states 0\.8 µm per pixel, but DPAT states 0\.5"):
        analysed(path, ImageInfo(id="S-1", microns_per_pixel=0.5))


# --- reading


def test_from_dpats_tiles_it_finds_what_it_finds_in_the_file(sample_slides: Path) -> None:
    with Simulator(sample_slides, Options(strict=True)) as sim:
        origin = dpat_origin(sim.callback_url, sim.token(), "immuno")
        with Slide(None, origin.info(), origin=origin) as slide:
            sim.call_log.clear()
            found = run_app(Tissue(), slide, lambda *_: None)
            calls = sim.call_log.all()
    own = analysed(sample_slides / "immuno.tiff")
    assert area_mm2(found) == pytest.approx(area_mm2(own), rel=0.01)
    assert overlap(marked(found), marked(own)) > 0.98
    assert found.properties["Pixel size from"] == "DPAT"
    assert len(calls) == 1, "the overview of 192 x 144 pixels is one tile"


def test_an_overview_is_read_in_parts_that_fit_together(section_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slidehook.pixels.overview.SIDE_PX", int(2048 / 3.7))
    with OpenSlide(section_path) as opened:
        source = Watched(opened)
        with Slide(section_path, ImageInfo(id="S-1", microns_per_pixel=MPP), pixels=source) as slide:
            parts = overview(slide, mpp=3.7)
            whole = slide.read(0, 0, COLUMNS, ROWS, mpp=3.7)
    assert parts.shape == whole.shape
    assert len(source.parts) == 3
    assert all(max(box.width, box.height) <= 2048 + 8 for box, _ in source.parts[:-1])
    assert np.abs(parts.astype(int) - whole).mean() < 3


# --- the mask


def test_looking_band_by_band_makes_no_difference(section: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    small = section[::8, ::8]
    whole = tissue_mask(small, mpp=8.0)
    monkeypatch.setattr("slidehook.measuring.tissue.BAND", 37)
    assert np.array_equal(tissue_mask(small, mpp=8.0), whole)


def test_the_documents_toml_says_what_is_the_case_anyhow() -> None:
    assert documented("tissue") == TissueParams().model_dump()
