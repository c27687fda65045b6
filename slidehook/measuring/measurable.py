"""Checks whether stains can be measured in a picture: whether it is sharp, bright enough, and in the stains' colours.

Sharpness: a sharp edge has structure at every scale, a blurred one less at fine scales than at coarse ones. The
measure is the ratio of two neighbouring bands of the stain's density (differences of Gaussians), so it depends on
neither contrast nor density. On tissue in focus it is 0.55 to 1; after a Gaussian blur of 1 µm (standard deviation)
it is below 0.5, and after 1.5 µm below 0.45. Noise can raise this ratio and so hide a blur. A strong blur is detected
nevertheless, because it removes detail: the coarser band's deviation is over 0.06 of the mean density on tissue in
focus, and below 0.035 after a blur of 5 µm. Areas with less than `LEAST_DETAIL` are without detail and count as
blurred, since the two can't be distinguished.
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
"""The side of the squares in which sharpness is measured."""
LEAST_STRUCTURE = 0.003
"""The least deviation of the coarser band, as a density, for judging sharpness; one nucleus in a square suffices."""
LEAST_DETAIL, PALEST = 0.03, 0.05
"""The deviation, as a fraction of the square's mean density, below which a square is without detail; and the mean
density below which it is glass."""
MOST_BLURRED = 0.25
"""The largest fraction of the judged pixels, and of the nuclei, that may be blurred."""
LEAST_HAEMATOXYLIN = 0.08
HAEMATOXYLIN_PART = 0.25
"""The least haematoxylin in a pixel, as a density and as a fraction of its DAB; less may be another shade of DAB."""
DARKEST = 0.16
"""A pixel whose brightest channel has less than this fraction of the glass's light is black: it can't be measured."""
BLURRED = "blurred or without detail"
OTHER_STAIN = "not stained with haematoxylin and DAB"


@dataclass(frozen=True)
class Sums:
    """The number of pixels in a region, in total and of each kind; `hues`: the measurements of their colours.

    `structured`: the pixels whose sharpness can be judged; `blurred`: those of them that are blurred or without
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
    """Return the reason why a region can't be measured, in a few words; empty if it can.

    `unsharp`: the number of its nuclei at which the picture is not sharp. `own_colours`: the stains' colours are set
    by the site, not the published ones.
    """
    if sums.black > 0.3 * sums.pixels:
        return "too dark"
    if sums.stained < 0.001 * sums.pixels:  # an empty region, unless a blur made it pale; dust may be blurred
        return BLURRED if sums.blurred > MOST_BLURRED * sums.pixels else ""
    if is_other_stain(sums.hues, sums.stained, own_colours=own_colours):
        return OTHER_STAIN
    if sums.haematoxylin < 0.005 * sums.stained:
        return "without haematoxylin"
    if sums.blurred > MOST_BLURRED * sums.structured or unsharp > MOST_BLURRED * nuclei:
        return BLURRED
    return ""


class QualityMaps:
    """The kinds of pixels of `Sums` in one picture of `mpp` µm per pixel, stained with haematoxylin and DAB.

    `stained`: haematoxylin first. `white`: the light of empty glass. `dab_from`: the least density of a pixel with
    DAB. `least_sharp`: the sharpness below which a pixel is blurred.
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
        """Marks the pixels whose surroundings have structure and are sharp."""
        self._maps: dict[str, Mask] = {
            "dab": second >= dab_from,
            "black": brightest < DARKEST,
            "stained": coloured,
            "haematoxylin": (blue >= LEAST_HAEMATOXYLIN) & (blue >= HAEMATOXYLIN_PART * brown),
            "structured": structured,
            "blurred": blurred,
        }

    def sums(self, mask: Mask) -> Sums:
        """Return the counts within a mask of the picture's shape."""
        return Sums(
            int(np.count_nonzero(mask)),
            **{name: int(np.count_nonzero(marked & mask)) for name, marked in self._maps.items()},
            hues=self._hues.sums(mask),
        )


def _sharpness(density: Density, mpp: float, least: float) -> tuple[Mask, Mask]:
    """Mark the pixels whose sharpness can be judged, and those of them that are blurred or without detail."""
    fine, middle, coarse = (scipy.ndimage.gaussian_filter(density, each / mpp, truncate=3) for each in BANDS_UM)
    window = 2 * round(WINDOW_UM / mpp / 2) + 1
    upper, lower = (scipy.ndimage.uniform_filter(each * each, window) for each in (fine - middle, middle - coarse))
    mean = scipy.ndimage.uniform_filter(density, window)
    even = (mean >= PALEST) & (lower < np.maximum(LEAST_STRUCTURE, LEAST_DETAIL * mean) ** 2)
    structured = (lower > LEAST_STRUCTURE**2) | even
    return structured, structured & (even | (upper < least**2 * lower))
