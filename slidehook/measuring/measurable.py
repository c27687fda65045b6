"""Tells whether stains can be measured in a picture at all: whether it is sharp, light enough, and in their colours.

Sharpness: an edge has structure at every scale, a blurred one less at fine scales than at coarse ones. The measure is
the ratio of two neighbouring bands of the stain's density (differences of Gaussians), so it hangs on neither contrast
nor density. On tissue in focus it is 0.55 to 1; after a Gaussian blur of 1 µm (standard deviation) below 0.5, of
1.5 µm below 0.45. Noise hides a blur from this ratio, but a strong blur leaves little to hide: the coarser band's
deviation is over 0.06 of the mean density on tissue in focus, and below 0.035 after a blur of 5 µm. What has less
than `LEAST_DETAIL` is without detail, and counts as blurred: the two can't be told apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
import scipy

from slidehook.measuring.chromogen import STAINED, HueMaps, Hues, is_other_stain
from slidehook.measuring.glass import Colour
from slidehook.measuring.stains import Density, Stained
from slidehook.pixels.source import Pixels
from slidehook.pixels.tiles import Mask

BANDS_UM = (0.5, 1.0, 2.0)
WINDOW_UM = 64.0
"""Sharpness is told for squares as wide as this."""
LEAST_STRUCTURE = 0.003
"""Density by which the coarser band must vary for its sharpness to be told; one nucleus in the square is enough."""
LEAST_DETAIL, PALEST = 0.03, 0.05
"""As a part of the mean density in the square: what varies less is without detail. Below `PALEST` it is glass."""
MOST_BLURRED = 0.25
"""Which part of what can be told sharp or not, and of the nuclei, may be blurred."""
LEAST_HAEMATOXYLIN = 0.08
HAEMATOXYLIN_PART = 0.25
"""How much haematoxylin a pixel has beside its DAB, at least, when it is not only DAB of another shade."""
DARKEST = 0.16
"""A pixel whose brightest channel has less of the glass's light than this is black: nothing can be told in it."""
BLURRED = "blurred or without detail"
OTHER_STAIN = "not stained with haematoxylin and DAB"


@dataclass(frozen=True)
class Sums:
    """Numbers of pixels in a region: all, and those of each kind; `hues`: in which colours they are.

    `structured`: where it can be told whether it is sharp; `blurred`: of those the ones that are blurred or without
    detail.
    """

    pixels: int = 0
    dab: int = 0
    black: int = 0
    stained: int = 0
    haematoxylin: int = 0
    structured: int = 0
    blurred: int = 0
    hues: Hues = field(default_factory=Hues)

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Sums)))


def complaint(sums: Sums, nuclei: int, unsharp: int, *, own_colours: bool = False) -> str:
    """Say in a few words why a region can't be measured; empty when it can.

    `unsharp`: how many of its nuclei lie where the picture is not sharp. `own_colours`: the colours of the stains are
    the site's own, not the published ones.
    """
    if sums.black > 0.3 * sums.pixels:
        return "too dark"
    if sums.stained < 0.001 * sums.pixels:  # empty, unless it is pale because it is blurred; dust may be blurred
        return BLURRED if sums.blurred > MOST_BLURRED * sums.pixels else ""
    if is_other_stain(sums.hues, sums.stained, own_colours=own_colours):
        return OTHER_STAIN
    if sums.haematoxylin < 0.005 * sums.stained:
        return "without haematoxylin"
    if sums.blurred > MOST_BLURRED * sums.structured or unsharp > MOST_BLURRED * nuclei:
        return BLURRED
    return ""


class QualityMaps:
    """One picture of `mpp` µm per pixel, looked at pixel by pixel: of haematoxylin (`stained.first`) and DAB.

    `white`: the light of empty glass. `dab_from`: the density from which on a pixel has DAB. `least_sharp`: what is
    less sharp is blurred.
    """

    def __init__(
        self, pixels: Pixels, stained: Stained, *, mpp: float, white: Colour, dab_from: float, least_sharp: float
    ) -> None:
        first, second = stained.first, stained.second
        density = np.sqrt(first * first + second * second + stained.residual * stained.residual)
        coloured = density >= STAINED
        light = pixels / np.asarray(white, np.float32)
        brightest = light.max(axis=2)
        blue, brown, rest = (
            scipy.ndimage.gaussian_filter(each, 0.5 / mpp, truncate=3) for each in (first, second, stained.residual)
        )
        self._hues = HueMaps(blue, brown, rest, light.min(axis=2))
        structured, blurred = _sharpness(np.maximum(first, 0) + np.maximum(second, 0), mpp, least_sharp)
        self.sharp: Mask = structured & ~blurred
        """Marks the pixels round which there is something, and it is sharp."""
        self._maps: dict[str, Mask] = {
            "dab": second >= dab_from,
            "black": brightest < DARKEST,
            "stained": coloured,
            "haematoxylin": (blue >= LEAST_HAEMATOXYLIN) & (blue >= HAEMATOXYLIN_PART * brown),
            "structured": structured,
            "blurred": blurred,
        }

    def sums(self, mask: Mask) -> Sums:
        """Count within a mask of the picture's shape."""
        return Sums(
            int(np.count_nonzero(mask)),
            **{name: int(np.count_nonzero(marked & mask)) for name, marked in self._maps.items()},
            hues=self._hues.sums(mask),
        )


def _sharpness(density: Density, mpp: float, least: float) -> tuple[Mask, Mask]:
    """Mark the pixels where sharpness can be told, and of those the ones that are blurred or without detail."""
    fine, middle, coarse = (scipy.ndimage.gaussian_filter(density, each / mpp, truncate=3) for each in BANDS_UM)
    window = 2 * round(WINDOW_UM / mpp / 2) + 1
    upper, lower = (scipy.ndimage.uniform_filter(each * each, window) for each in (fine - middle, middle - coarse))
    mean = scipy.ndimage.uniform_filter(density, window)
    even = (mean >= PALEST) & (lower < np.maximum(LEAST_STRUCTURE, LEAST_DETAIL * mean) ** 2)
    structured = (lower > LEAST_STRUCTURE**2) | even
    return structured, structured & (even | (upper < least**2 * lower))
