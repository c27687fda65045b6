"""Checks by colour whether a picture is stained with haematoxylin and DAB, and with no other stain.

Method: a pixel's densities of the two stains and its residual (`slidehook.measuring.stains`) are its coordinates in a
space whose axes are haematoxylin, DAB and a third direction. Haematoxylin over a chromogen moves the pixel along the
first axis only, so the ratio of residual to DAB depends on the chromogen alone, in pale and in dark areas. (Macenko
et al., "A method for normalizing histology slides for quantitative analysis", ISBI 2009, 1107-1110, distinguish
stains by angles of this kind.) The ratio is 0 for DAB's published colour and 0.05 to 0.15 on the scanned slides that
were measured; AEC has -0.12, NovaRED -0.09, Fast Red -0.55, eosin -4, green over 2. Black is the exception: its hue
is near DAB's, but deconvolution finds as much haematoxylin as DAB in it, even where there is no haematoxylin.

A scanner that shows haematoxylin bluer than published also shows DAB less red. The limit for chromogens that are
slightly redder than DAB is therefore adjusted by the haematoxylin of the same picture.

Limits: a chromogen with haematoxylin's colour (Vector Blue, a bluish purple) can't be distinguished from
haematoxylin, and a brown chromogen can't be distinguished from DAB. Where DAB is so dark that a channel is black, its
hue is unknown, so these pixels are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from slidehook.measuring.stains import Density
from slidehook.pixels.tiles import Mask

STAINED = 0.15
"""The least density of a stained pixel."""
CLEAR = (0.25, 0.9)
"""The range of DAB density in which a pixel's hue is that of the chromogen."""
DARKEST = 0.08
"""The fraction of the glass's light in a pixel's darkest channel up to which its hue is unknown."""
LEAST_PX = 30
"""The least number of pixels for judging a colour; one nucleus has more."""
REDDEST = -0.044
"""The ratio of residual to DAB below which the chromogen is redder than DAB, if haematoxylin is as published."""
REDDEST_BY_BLUE, BLUEST = 0.45, 0.2
"""The rise of that limit per ratio of residual to haematoxylin, and the ratio above which it rises no further."""
HUES = (-0.21, 0.47)
"""The range of the ratio of residual to DAB in single pixels of DAB."""
YELLOWEST = -0.33
"""The least ratio of haematoxylin to DAB in a single pixel of DAB; a yellow chromogen has less."""
MOST_OFF_HUE = 0.25
"""The largest fraction of the chromogen's pixels that may lie outside `HUES` or below `YELLOWEST`."""
NEUTRAL, MOST_NEUTRAL = 0.9, 0.8
"""The ratio of haematoxylin to DAB above which a pixel may be black, and the largest fraction of these pixels."""
PINKEST, GREENEST = -0.2, 0.3
"""The range of the residual, as a fraction of a pixel's density, in mixtures of the two stains."""
LEAST_ODD, MOST_ODD = 0.005, 0.33
"""The fraction of stained pixels from which odd ones are judged, and their largest fraction beside DAB's pixels."""


@dataclass(frozen=True)
class Hues:
    """The measurements from which a region's stains are judged: numbers of pixels, and sums of densities.

    `clear`: pixels with DAB or a similar chromogen; `off_hue` and `neutral`: the clear pixels that do not have DAB's
    hue, and those that may be black; `odd`: pixels in a colour that no mixture of the stains has. `hue`: the sum of
    the ratio of residual to DAB over the clear pixels. `haematoxylin` and `blue_residual`: the sums of both densities
    over the pixels with haematoxylin alone.
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
    """The kinds of pixels of `Hues` in one picture, from its densities of haematoxylin and DAB, and its residual.

    The densities should be smooth, since the hue of single pixels is mostly noise. `darkest`: the fraction of the
    glass's light in each pixel's darkest channel.
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
        """Return the sums within a mask of the picture's shape."""
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
    """Return whether a region has other stains than haematoxylin and DAB; `stained`: its number of stained pixels.

    `own_colours`: the site has set the stains' colours, so the limit for reddish chromogens does not apply.
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
