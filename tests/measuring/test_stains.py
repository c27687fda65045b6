from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import hdx_from_rgb, separate_stains

from slidehook.measuring.glass import WHITE, Colour
from slidehook.measuring.stains import DAB, HAEMATOXYLIN, Deconvolution
from slidehook.pixels.source import Pixels

densities = st.floats(0, 1.2)


def unit(colour: Colour) -> Any:
    return np.array(colour) / np.linalg.norm(colour)


def composed(haematoxylin: float, dab: float, white: Colour = WHITE) -> Pixels:
    """One pixel, by Beer and Lambert's law."""
    light = np.array(white) * 10 ** -(haematoxylin * unit(HAEMATOXYLIN) + dab * unit(DAB))
    pixel: Pixels = np.rint(light).astype(np.uint8).reshape(1, 1, 3)
    return pixel


@settings(deadline=None)
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
