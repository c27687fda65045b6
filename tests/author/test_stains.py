from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import hdx_from_rgb, separate_stains

from slidehook.pixels.source import Pixels
from slidehook.stains import DAB, DIMMEST_GLASS, HAEMATOXYLIN, WHITE, Colour, Deconvolution, glass_colour

densities = st.floats(0, 1.2)


def unit(colour: Colour) -> Any:
    return np.array(colour) / np.linalg.norm(colour)


def composed(haematoxylin: float, dab: float, white: Colour = WHITE) -> Pixels:
    """One pixel, by Beer and Lambert's law."""
    light = np.array(white) * 10 ** -(haematoxylin * unit(HAEMATOXYLIN) + dab * unit(DAB))
    pixel: Pixels = np.rint(light).astype(np.uint8).reshape(1, 1, 3)
    return pixel


@given(densities, st.floats(0, 0.8))
def test_composed_densities_come_back(haematoxylin: float, dab: float) -> None:
    found = Deconvolution()(composed(haematoxylin, dab))
    # Half a grey level of 255 · 10^-1.6, what the darkest of these has, is a density of 0.03.
    assert found.first.item() == pytest.approx(haematoxylin, abs=0.06)
    assert found.second.item() == pytest.approx(dab, abs=0.06)
    assert found.residual.item() == pytest.approx(0, abs=0.06)


def test_the_glasss_light_is_divided_out() -> None:
    white = (200.0, 210.0, 190.0)
    found = Deconvolution(white=white)(composed(0.3, 0.4, white))
    assert (found.first.item(), found.second.item()) == pytest.approx((0.3, 0.4), abs=0.02)


def test_densities_are_those_of_scikit_image_but_for_its_scale() -> None:
    pixels = np.random.default_rng(1).integers(1, 256, (20, 30, 3)).astype(np.uint8)
    found = Deconvolution()(pixels)
    theirs = separate_stains(pixels, hdx_from_rgb) * np.log10(1e6)  # theirs are cut off at 0
    assert np.abs(found.first.clip(0) - theirs[..., 0]).max() < 0.005
    assert np.abs(found.second.clip(0) - theirs[..., 1]).max() < 0.005


def test_what_is_neither_stain_lies_in_the_residual() -> None:
    green_ink = np.array([[[20, 200, 40]]], np.uint8)
    found = Deconvolution()(green_ink)
    assert abs(found.residual.item()) > 0.3


def test_black_has_a_density_that_is_a_number() -> None:
    found = Deconvolution()(np.zeros((2, 3, 3), np.uint8))
    assert np.isfinite(found.first).all()
    assert found.first.shape == (2, 3)
    assert found.first.dtype == np.float32


@pytest.mark.parametrize("pixels", [np.zeros((2, 3), np.uint8), np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 3))])
def test_other_pictures_are_refused(pixels: Any) -> None:
    with pytest.raises(ValueError, match="uint8 RGB"):
        Deconvolution()(pixels)


@pytest.mark.parametrize(
    ("first", "second", "white", "reason"),
    [
        ((0.0, 0.0, 0.0), DAB, WHITE, "no stain's colour"),
        (DAB, (0.27, 0.57, 0.78), WHITE, "too much alike"),
        (DAB, (0.536, 1.14, 1.552), WHITE, "too much alike"),
        (HAEMATOXYLIN, DAB, (0.0, 255.0, 255.0), "no light"),
        (HAEMATOXYLIN, (float("nan"), 1.0, 1.0), WHITE, "no stain's colour"),
    ],
)
def test_colours_that_make_no_sense_are_refused(first: Colour, second: Colour, white: Colour, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Deconvolution(first, second, white=white)


# --- glass


def overview(*parts: tuple[float, Colour]) -> Pixels:
    """An overview of 10,000 pixels; each part takes a share of it."""
    return np.concatenate([np.full((round(share * 100), 100, 3), colour) for share, colour in parts]).astype(np.uint8)


BROWN = (150.0, 100.0, 60.0)


@pytest.mark.parametrize(
    ("picture", "colour"),
    [
        (overview((0.3, (240, 238, 242)), (0.7, BROWN)), (240, 238, 242)),
        (overview((0.01, (240, 238, 242)), (0.99, BROWN)), (240, 238, 242)),
        (overview((0.5, (255, 255, 255)), (0.2, (240, 238, 242)), (0.3, BROWN)), (240, 238, 242)),
        (overview((0.5, (255, 255, 255)), (0.5, BROWN)), WHITE),
        (overview((1, (180, 176, 178))), (180, 176, 178)),
        (overview((1, BROWN)), WHITE),
        (overview((1, (100, 100, 100))), None),
        (overview((1, (0, 0, 0))), None),
    ],
    ids=["glass", "little", "filled", "filled only", "dim", "none", "too dark", "black"],
)
def test_the_colour_of_glass(picture: Pixels, colour: Colour | None) -> None:
    assert glass_colour(picture) == colour


@given(st.integers(DIMMEST_GLASS, 254), st.integers(0, 5))
def test_noise_does_not_change_the_glass(level: int, deviation: int) -> None:
    noise = np.random.default_rng(0).normal(0, deviation, (100, 100, 1))
    picture = (level + noise).clip(0, 255).astype(np.uint8).repeat(3, axis=2)
    found = glass_colour(picture)
    assert found is not None
    assert found[0] == pytest.approx(level, abs=3 * deviation + 1)
