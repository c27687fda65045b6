"""What lies on a slide beside tissue, drawn beside a section, in pictures of 8 µm per pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

from slidehook.errors import AppError
from slidehook.measuring.glass import glass_colour, require_glass
from slidehook.measuring.tissue import tissue_mask
from slidehook.pixels.source import Pixels
from slidehook.pixels.tiles import Mask
from tests.apps.slides import glass, restained, small_tissue

MPP = 8.0
ROWS, COLUMNS = 300, 420
SECTION = (slice(100, 220), slice(120, 300))
"""Where the tissue lies."""
TRUTH = np.zeros((ROWS, COLUMNS), np.bool_)
TRUTH[SECTION] = True


def section(stain: str = "H&E", *, strength: float = 1.0) -> Pixels:
    small = np.asarray(Image.fromarray(small_tissue(ROWS * 2, COLUMNS * 2, shrink=4)).reduce(2))
    pixels = glass(ROWS, COLUMNS)
    pixels[SECTION] = restained(small, stain, strength=strength)[SECTION]
    return pixels


def assert_only_the_section(pixels: Pixels, *, neither: float = 0.02, found: float = 0.98) -> None:
    mask = tissue_mask(pixels, mpp=MPP)
    assert np.count_nonzero(mask & ~TRUTH) <= neither * np.count_nonzero(mask)
    assert np.count_nonzero(mask & TRUTH) >= found * np.count_nonzero(TRUTH)


def absorbed(pixels: Pixels, density: Any, *, noise: float = 0.7) -> Pixels:
    """Lay something over a picture that takes light away: optical densities, (rows, columns, 3)."""
    light = pixels * 10.0 ** -np.asarray(density) + np.random.default_rng(1).normal(0, noise, pixels.shape)
    return np.rint(light).clip(0, 255).astype(np.uint8)


def drawn(pixels: Pixels, draw: Any, *, soft: float = 0.7) -> Pixels:
    image = Image.fromarray(pixels)
    draw(ImageDraw.Draw(image))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(soft)))


# --- pens, the glass's edge, smears, bubbles

PENS = {
    "blue": (40, 70, 175), "light blue": (90, 160, 230), "pale blue": (140, 165, 220), "green": (30, 120, 80),
    "pale green": (140, 210, 190), "red": (190, 40, 50), "black": (30, 30, 38), "grey": (150, 150, 155),
}  # fmt: skip


@pytest.mark.parametrize("wide_px", [20, 60])
@pytest.mark.parametrize("pen", PENS)
def test_a_streaky_pen_is_no_tissue_however_pale_or_thick(pen: str, wide_px: int) -> None:
    canvas = Image.new("L", (COLUMNS, ROWS), 0)
    ImageDraw.Draw(canvas).line([(20, 40), (200, 20), (400, 40)], fill=255, width=wide_px, joint="curve")
    cover = np.asarray(canvas.filter(ImageFilter.GaussianBlur(1)), np.float64) / 255
    streaks = ndimage.gaussian_filter(np.random.default_rng(2).normal(size=cover.shape), 3)
    cover *= (1 + 0.25 * streaks / streaks.std()).clip(0.2, 2)
    ink = -np.log10(np.array(PENS[pen]) / 243)
    assert_only_the_section(absorbed(section(), cover[..., None] * ink), neither=0, found=0.9)


@pytest.mark.parametrize("depth", [0.15, 0.4])
@pytest.mark.parametrize("turns", range(4))
def test_the_edge_of_the_glass_is_no_tissue_on_any_side(turns: int, depth: float) -> None:
    pixels = np.rot90(section(), turns)
    wide = 60
    profile = depth * np.clip(1 - (np.arange(wide) - 8) / (wide - 8), 0, 1)
    profile[:8] = 0.05
    density = np.zeros(pixels.shape)
    density[:wide] = profile[:, None, None] * (0.9, 1.0, 1.15)
    density[8:10] += 0.15
    density[wide + 5 : wide + 7] += 0.2
    rng = np.random.default_rng(5)
    for x, y in zip(rng.integers(0, pixels.shape[1], 60), rng.integers(10, wide, 60), strict=True):
        density[y : y + 2, x : x + 3] += (0.07, 0.1, 0.14)
    assert_only_the_section(np.rot90(absorbed(pixels, density), -turns))


@pytest.mark.parametrize("hue", [(0.4, 0.8, 1.2), (0.7, 0.8, 1.0), (1, 1, 1), (1.0, 0.7, 0.4)])
def test_a_smear_is_no_tissue(hue: tuple[float, float, float]) -> None:
    across = np.exp(-(((np.arange(ROWS) - 40) / 14) ** 2))[:, None, None]
    assert_only_the_section(absorbed(section(), 0.06 * across * hue))


@pytest.mark.parametrize("colour", [(60, 60, 60), (150, 150, 150), (200, 200, 202)])
@pytest.mark.parametrize("wide_px", [1, 3, 5])
def test_bubbles_and_dust_are_no_tissue(colour: tuple[int, int, int], wide_px: int) -> None:
    def bubbles(draw: ImageDraw.ImageDraw) -> None:
        for x, y, side in ((20, 10, 60), (100, 20, 20), (330, 100, 80), (330, 200, 40), (30, 200, 70), (30, 120, 20)):
            draw.ellipse((x, y, x + side, y + side), outline=colour, width=wide_px)
        for x, y in np.random.default_rng(3).integers((200, 5), (400, 80), (30, 2)):
            draw.ellipse((x, y, x + 5, y + 4), fill=(200, 200, 201))

    assert_only_the_section(drawn(section(), bubbles), neither=0.03)


# --- what is tissue all the same


@pytest.mark.parametrize("stain", ["H&E", "DAB"])
@pytest.mark.parametrize(
    "light",
    [(243, 243, 243), (245, 240, 215), (250, 235, 190), (215, 215, 215), (180, 180, 178), (225, 230, 225)],
)
def test_glass_of_another_colour_is_no_tissue(light: tuple[int, int, int], stain: str) -> None:
    lit = np.rint(section(stain) * (np.array(light) / 243)).clip(0, 255).astype(np.uint8)
    assert_only_the_section(lit, found=0.95)
    empty = np.random.default_rng(1).normal(light, 1, (ROWS, COLUMNS, 3)).clip(0, 255).astype(np.uint8)
    assert not tissue_mask(empty, mpp=MPP).any()


@pytest.mark.parametrize("stain", ["H&E", "DAB"])
def test_a_picture_may_be_all_tissue(stain: str) -> None:
    small = np.asarray(Image.fromarray(small_tissue(ROWS * 2, COLUMNS * 2, shrink=4)).reduce(2))
    assert tissue_mask(restained(small, stain), mpp=MPP).mean() > 0.95


def test_fat_whose_membranes_lie_close_together_is_tissue() -> None:
    pixels = glass(ROWS, COLUMNS)
    y, x = np.indices((ROWS, COLUMNS))[:, SECTION[0], SECTION[1]]
    membranes = np.minimum(x % 5, (y + 2 * (x // 5 % 2)) % 5)[..., None] < 1
    pixels[SECTION] = np.where(membranes, (215, 170, 205), pixels[SECTION])
    assert_only_the_section(drawn(pixels, lambda _: None), neither=0.05, found=0.9)


# --- dark ground


def bright_on_dark(ground: float, noise: float, colours: list[tuple[int, int, int]], *, gain: float = 1.0) -> Pixels:
    """Blurred bright spots, densest in the middle, as of fluorescence."""
    rng = np.random.default_rng(3)
    light = np.zeros((ROWS, COLUMNS, 3))
    for colour in colours:
        spots = Image.new("L", (COLUMNS, ROWS), 0)
        for x, y in rng.normal((COLUMNS / 2, ROWS / 2), (COLUMNS / 6, ROWS / 6), (400, 2)):
            side, value = rng.integers(2, 9), int(rng.integers(60, 255))
            ImageDraw.Draw(spots).ellipse((x, y, x + side, y + side), fill=value)
        seen = np.asarray(spots.filter(ImageFilter.GaussianBlur(1)), np.float64)[..., None]
        light = np.maximum(light, gain * seen * colour / 255)
    return np.rint(light + ground + rng.normal(0, noise, light.shape)).clip(0, 255).astype(np.uint8)


def disc(ground: float, inside: tuple[int, int, int]) -> Pixels:
    """A bright, textured disc on an even ground, as in a dark field."""
    y, x = np.indices((ROWS, COLUMNS))
    within = ((y - 150) / 90) ** 2 + ((x - 200) / 140) ** 2 < 1
    pixels = np.full((ROWS, COLUMNS, 3), float(ground))
    pixels[within] = inside + np.random.default_rng(1).normal(0, 20, (np.count_nonzero(within), 1))
    return pixels.clip(0, 255).astype(np.uint8)


def padded(pixels: Pixels, part: float, value: int) -> Pixels:
    """Surround a picture with rectangles of one value, as scanners fill what they have not looked at."""
    high, wide = (round(part * each) for each in pixels.shape[:2])
    return np.pad(pixels, ((high, high // 3), (wide // 2, wide), (0, 0)), constant_values=value)


BLUE_GREEN = [(20, 40, 255), (30, 255, 60)]
DARK: dict[str, Callable[[], Pixels]] = {
    "fluorescence": lambda: bright_on_dark(4, 2, BLUE_GREEN),
    "fluorescence, black ground": lambda: bright_on_dark(0, 0, BLUE_GREEN),
    "fluorescence, grey": lambda: bright_on_dark(5, 2, [(255, 255, 255)]),
    "fluorescence, saturated": lambda: bright_on_dark(5, 2, [(255, 255, 255)], gain=3),
    "fluorescence, dim": lambda: bright_on_dark(5, 2, BLUE_GREEN, gain=0.2),
    "fluorescence, filled with white": lambda: padded(bright_on_dark(4, 2, BLUE_GREEN), 2, 255),
    "fluorescence, filled with black": lambda: padded(bright_on_dark(9, 2, BLUE_GREEN), 1, 0),
    "dark field": lambda: disc(0, (200, 200, 205)),
    "dark field, grey ground": lambda: disc(20, (200, 150, 200)),
    "phase contrast": lambda: disc(115, (170, 170, 170)),
    "inverted": lambda: 255 - section(),
    "inverted DAB": lambda: 255 - section("DAB"),
    "black": lambda: np.abs(np.random.default_rng(1).normal(4, 2, (ROWS, COLUMNS, 3))).astype(np.uint8),
    "filled only": lambda: np.zeros((ROWS, COLUMNS, 3), np.uint8),
    "grey": lambda: np.full((ROWS, COLUMNS, 3), 120, np.uint8),
}


@pytest.mark.parametrize("name", DARK)
def test_a_dark_ground_is_refused(name: str) -> None:
    pixels = DARK[name]()
    assert glass_colour(pixels) is None
    with pytest.raises(AppError, match=r"dark ground \(fluorescence, dark field\)"):
        require_glass(pixels)
    with pytest.raises(AppError, match="dark ground"):
        tissue_mask(pixels, mpp=MPP)


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("part", [0.3, 1, 3])
def test_what_a_scanner_has_filled_is_no_dark_ground(part: float, value: int) -> None:
    mask = tissue_mask(padded(section(), part, value), mpp=MPP)
    assert np.count_nonzero(mask) == pytest.approx(np.count_nonzero(TRUTH), rel=0.03)


@pytest.mark.parametrize("value", [0, 255])
def test_a_picture_that_is_all_tissue_may_be_filled_up(value: int) -> None:
    filled = padded(section()[SECTION], 1, value)
    mask: Mask = tissue_mask(filled, mpp=MPP)
    # Beside black an edge is left out.
    assert 0.8 * np.count_nonzero(TRUTH) < np.count_nonzero(mask) < 1.02 * np.count_nonzero(TRUTH)


def test_fields_that_a_scanner_put_together_on_black_are_no_dark_ground() -> None:
    mosaic = np.zeros((700, 900, 3), np.uint8)
    for step in range(6):
        mosaic[60 + step * 80 : 240 + step * 80, 50 + step * 70 : 450 + step * 70] = section()[:180, :400]
    assert glass_colour(mosaic) is not None
