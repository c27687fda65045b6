"""Which stains are told from haematoxylin and DAB by their colours, in fields that are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from slidehook.measuring.chromogen import Hues, is_other_stain
from slidehook.measuring.measurable import OTHER_STAIN, QualityMaps, Sums, complaint
from slidehook.measuring.stains import Deconvolution
from slidehook.pixels.source import Pixels
from tests.apps.stained import DAB, EOSIN, GLASS, Nucleus, compose, scatter
from tests.apps.stained import HAEMATOXYLIN as BLUE

SIDE_UM = 200.0
OTHERS: dict[str, tuple[float, float, float]] = {
    "AEC": (0.274, 0.680, 0.680),
    "NovaRED": (0.20, 0.63, 0.75),
    "Fast Red": (0.214, 0.851, 0.478),
    "black": (0.577, 0.577, 0.577),
    "nickel-DAB": (0.60, 0.58, 0.55),
    "purple (VIP)": (0.45, 0.80, 0.40),
    "green": (0.87, 0.30, 0.40),
    "HRP green": (0.80, 0.35, 0.48),
}


def recoloured(pixels: Pixels, chromogen: Sequence[float], *, white: Sequence[float], keep: bool) -> Pixels:
    """Put another chromogen in DAB's place; `keep`: what is neither haematoxylin nor DAB stays in the picture."""
    stains = np.array([BLUE / np.linalg.norm(BLUE), DAB / np.linalg.norm(DAB), np.cross(BLUE, DAB)])
    amounts = -np.log10(pixels.clip(1) / np.array(white)) @ np.linalg.inv(stains)
    amounts[..., :2] = amounts[..., :2].clip(0)
    others: NDArray[np.float64] = stains.copy()
    others[1] = np.array(chromogen) / np.linalg.norm(chromogen)
    others[2] *= keep
    light: Pixels = np.rint(np.array(white) * 10 ** -(amounts @ others)).clip(0, 255).astype(np.uint8)
    return light


def judged(pixels: Pixels, *, white: tuple[float, float, float] = GLASS, **how: Any) -> str:
    """Return what is wrong with a picture of 0.5 µm per pixel."""
    stained = Deconvolution(white=white)(pixels)
    looked = QualityMaps(pixels, stained, mpp=0.5, white=white, dab_from=0.2, least_sharp=0.45)
    return complaint(looked.sums(np.ones(pixels.shape[:2], np.bool_)), 0, 0, **how)


def half(pixels: Pixels) -> Pixels:
    """From 0.25 to 0.5 µm per pixel."""
    small: Pixels = pixels.reshape(len(pixels) // 2, 2, -1, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    return small


@pytest.fixture(scope="module", params=[0.05, 0.4])
def true(request: pytest.FixtureRequest) -> list[Nucleus]:
    """Few positive nuclei, and many."""
    return scatter(120, side_um=SIDE_UM, seed=4, positive=request.param)


@pytest.mark.parametrize("stains", [{}, {"dab": 0.3}, {"dab": 1.2}, {"haematoxylin": 0.15}, {"noise": 8.0}])
def test_dab_is_never_another_stain(true: list[Nucleus], stains: dict[str, Any]) -> None:
    assert judged(half(compose(true, side_um=SIDE_UM, seed=4, **stains))) == ""


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("name", OTHERS)
def test_each_other_chromogen_in_place_of_dab_is_told(true: list[Nucleus], name: str, keep: bool) -> None:
    pixels = half(compose(true, side_um=SIDE_UM, seed=4))
    assert judged(recoloured(pixels, OTHERS[name], white=GLASS, keep=keep)) == OTHER_STAIN


def test_haematoxylin_alone_is_no_other_stain(true: list[Nucleus]) -> None:
    negative = [replace(each, positive=False) for each in true]
    assert judged(half(compose(negative, side_um=SIDE_UM, seed=4))) == ""


@pytest.mark.parametrize("eosin", [0.15, 0.3, 0.6])
@pytest.mark.parametrize("where", ["everywhere", "in clouds"])
def test_haematoxylin_and_eosin_is_told_also_by_little_eosin(true: list[Nucleus], eosin: float, where: str) -> None:
    blue = half(compose([replace(each, positive=False) for each in true], side_um=SIDE_UM, seed=4))
    waves = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal(blue.shape[:2]), 20)
    amount = eosin * (np.ones_like(waves) if where == "everywhere" else waves > 0)
    light = blue * 10 ** -(amount[..., None] * EOSIN)
    assert judged(np.rint(light).astype(np.uint8)) == OTHER_STAIN


def test_a_second_chromogen_beside_dab_is_told(true: list[Nucleus]) -> None:
    pixels = half(compose(true, side_um=SIDE_UM, seed=4))
    for name in ("Fast Red", "green"):
        both, middle = pixels.copy(), pixels.shape[1] // 2
        both[:, middle:] = recoloured(pixels, OTHERS[name], white=GLASS, keep=True)[:, middle:]
        assert judged(both) == OTHER_STAIN, name


def test_a_sites_own_colours_may_differ_a_little_from_its_chromogen() -> None:
    redder = Hues(clear=1000, hue=-60.0)
    assert is_other_stain(redder, 5000)
    assert not is_other_stain(redder, 5000, own_colours=True)
    assert is_other_stain(replace(redder, off_hue=900), 5000, own_colours=True)


def test_sums_of_two_parts_are_those_of_the_whole(true: list[Nucleus]) -> None:
    pixels = half(compose(true, side_um=SIDE_UM, seed=4))
    looked = QualityMaps(
        pixels, Deconvolution(white=GLASS)(pixels), mpp=0.5, white=GLASS, dab_from=0.2, least_sharp=0.45
    )
    left = np.zeros(pixels.shape[:2], np.bool_)
    left[:, :150] = True
    whole, parts = looked.sums(left | ~left), looked.sums(left) + looked.sums(~left)
    assert replace(whole, hues=Hues()) == replace(parts, hues=Hues())
    assert whole.hues.clear == parts.hues.clear > 0
    assert whole.hues.hue == pytest.approx(parts.hues.hue, rel=1e-4)
    assert Sums() + whole == whole
