"""Tells whether a picture is stained with haematoxylin and DAB, by the colour of what is not haematoxylin.

Method: a pixel's densities of the two stains and its residual (`slidehook.measuring.stains`) are its place in a space
whose axes are haematoxylin, DAB and a third direction. Haematoxylin that lies over a chromogen moves the pixel along
the first axis only, so the ratio of residual to DAB is the chromogen's own, in pale and in dark places. (Macenko et
al., "A method for normalizing histology slides for quantitative analysis", ISBI 2009, 1107-1110, tell stains by such
angles.) The ratio is 0 for DAB by its published colour and 0.05 to 0.15 on the scanned slides that were measured;
AEC has -0.12, NovaRED -0.09, Fast Red -0.55, eosin -4, green over 2. Black is the exception: its hue is near DAB's,
but deconvolution finds as much haematoxylin as DAB in it, even where no haematoxylin lies over it.

A scanner that shows haematoxylin bluer than published shows DAB less red as well, so a chromogen that is a little
redder than DAB is told by the haematoxylin of the same picture.

Limits: a chromogen of haematoxylin's own colour (Vector Blue, a bluish purple) can't be told from haematoxylin, nor
can a brown one from DAB. Where DAB is so dark that a channel is black it has no colour, so such pixels have no say.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from slidehook.measuring.stains import Density
from slidehook.pixels.tiles import Mask

STAINED = 0.15
"""Density from which a pixel is stained."""
CLEAR = (0.25, 0.9)
"""Densities of DAB from which, and below which, a pixel's hue is that of the chromogen."""
DARKEST = 0.08
"""A pixel has no colour any more when one of its channels has less of the glass's light than this."""
LEAST_PX = 30
"""How many pixels it takes to judge a colour: fewer than one nucleus has."""
REDDEST = -0.044
"""Residual per DAB from which down the chromogen is redder than DAB, where haematoxylin is as published."""
REDDEST_BY_BLUE, BLUEST = 0.45, 0.2
"""How much that limit rises with the residual per haematoxylin, and the largest such residual that counts."""
HUES = (-0.21, 0.47)
"""Residual per DAB that single pixels of DAB have, at least and at most."""
YELLOWEST = -0.33
"""Haematoxylin per DAB of a single pixel of DAB, at least: less is a yellow chromogen."""
MOST_OFF_HUE = 0.25
"""Which part of the chromogen's pixels may lie outside `HUES`."""
NEUTRAL, MOST_NEUTRAL = 0.9, 0.8
"""Haematoxylin per DAB from which a pixel may be black, and which part of the pixels may be."""
PINKEST, GREENEST = -0.2, 0.3
"""Residual, as a part of a pixel's density, of what can be neither stain nor a mixture of both."""
LEAST_ODD, MOST_ODD = 0.005, 0.33
"""Odd pixels are judged from this part of all stained ones on, and may be this part of what is not haematoxylin."""


@dataclass(frozen=True)
class Hues:
    """What the pixels of a region say of its stains: numbers of pixels, and sums of densities.

    `clear`: pixels with DAB, or what passes for it; `off_hue` and `neutral`: those of them that are not in DAB's hue,
    and those that may be black; `odd`: pixels in a colour that no mixture of the stains has. `hue` is the sum of the
    residual per DAB over the clear pixels; `haematoxylin` and `blue_residual` are summed over those of haematoxylin
    alone.
    """

    clear: int = 0
    off_hue: int = 0
    neutral: int = 0
    odd: int = 0
    hue: float = 0.0
    haematoxylin: float = 0.0
    blue_residual: float = 0.0

    def __add__(self, other: Hues) -> Hues:
        return Hues(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Hues)))


class HueMaps:
    """The same, pixel by pixel, of a picture's densities of haematoxylin and DAB, and its residual.

    These should be smooth, since the hue of single pixels is mostly noise. `darkest`: which part of the glass's light
    each pixel's darkest channel has.
    """

    def __init__(self, first: Density, second: Density, residual: Density, darkest: NDArray[np.float32]) -> None:
        total = np.sqrt(first * first + second * second + residual * residual)
        stained = total >= STAINED
        self._clear: Mask = (second >= CLEAR[0]) & (second < CLEAR[1]) & (darkest > DARKEST)
        self._off_hue: Mask = self._clear & (
            (residual < HUES[0] * second) | (residual > HUES[1] * second) | (first < YELLOWEST * second)
        )
        self._neutral: Mask = self._clear & (first > NEUTRAL * second)
        no_mixture = (residual < PINKEST * total) | (residual > GREENEST * total)
        self._odd: Mask = stained & ~self._clear & (darkest > DARKEST) & no_mixture
        self._blue: Mask = stained & ~self._odd & (first >= STAINED) & (np.abs(second) < 0.3 * first)
        self._first, self._residual = first, residual
        self._hue = np.clip(residual / np.maximum(second, CLEAR[0]), -1, 1)

    def sums(self, mask: Mask) -> Hues:
        """Add up within a mask of the picture's shape."""
        clear, blue = self._clear & mask, self._blue & mask
        return Hues(
            clear=int(np.count_nonzero(clear)),
            off_hue=int(np.count_nonzero(self._off_hue & mask)),
            neutral=int(np.count_nonzero(self._neutral & mask)),
            odd=int(np.count_nonzero(self._odd & mask)),
            hue=float(self._hue[clear].sum()),
            haematoxylin=float(self._first[blue].sum()),
            blue_residual=float(self._residual[blue].sum()),
        )


def is_other_stain(hues: Hues, stained: int, *, own_colours: bool = False) -> bool:
    """Return whether a region with that many stained pixels is stained with something else than haematoxylin and DAB.

    `own_colours`: the stains' colours are a site's own, so the chromogen's may differ by what it is measured by.
    """
    of_dab = hues.clear - hues.off_hue
    if hues.odd >= max(LEAST_PX, LEAST_ODD * stained) and hues.odd > MOST_ODD * (hues.odd + of_dab):
        return True
    if hues.clear < LEAST_PX:
        return False
    if hues.off_hue > MOST_OFF_HUE * hues.clear or hues.neutral > MOST_NEUTRAL * hues.clear:
        return True
    bluer = hues.blue_residual / hues.haematoxylin if hues.haematoxylin else 0.0
    reddest = REDDEST + REDDEST_BY_BLUE * min(max(bluer, 0.0), BLUEST)
    return not own_colours and hues.hue < reddest * hues.clear
