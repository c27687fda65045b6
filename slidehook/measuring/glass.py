"""Tells what empty glass looks like on a slide: the light that every stain's density is counted from."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from slidehook.pixels.source import Pixels

Colour = tuple[float, float, float]
"""Red, green, blue: of a stain, the optical densities of the three channels; of light, values 0…255."""
WHITE: Colour = (255.0, 255.0, 255.0)

NEUTRAL = 30
"""By how much, of 255, the channels of empty glass may differ."""
EVEN = 2
"""By how much, of 255, neighbouring pixels of glass differ at most; dust and glare are seldom as even."""
DIMMEST_GLASS = 150
"""What glass is darker than this, of 255, is no picture to measure in."""
GLASS_SPREAD = 8
"""By how much, of 255, pixels of glass are darker than its brightest ones."""
LEAST_GLASS = 0.001
"""The part of an overview that glass must take to be believed."""
ENOUGH_PX = 2000
"""Of a larger overview about so many rows and columns are looked at."""


def glass_colour(overview: Pixels) -> Colour | None:
    """Give the colour of empty glass in an overview of a slide (uint8 RGB); `WHITE` when it shows none.

    Glass is what is brightest and without a colour, and even if there is such. Pure white does not count while there
    is other glass: scanners fill with it where they have not looked. None when all is darker than `DIMMEST_GLASS`:
    the picture is too dark.
    """
    every = max(1, max(overview.shape[:2]) // ENOUGH_PX)
    pixels = overview[::every, ::every].astype(np.int16)
    least = math.ceil(max(4, LEAST_GLASS * pixels.size / 3))
    # Channel by channel: over so short an axis numpy's own are ten times as slow.
    red, green, blue = (pixels[..., channel] for channel in range(3))
    darkest = np.minimum(np.minimum(red, green), blue)
    neutral = np.maximum(np.maximum(red, green), blue) - darkest <= NEUTRAL
    scanned = neutral & (darkest < 255)
    for glass in (pixels[scanned & _even(green)], pixels[scanned], pixels[neutral]):
        if len(glass) < least:
            continue
        light = glass[:, 0] + glass[:, 1] + glass[:, 2]  # 765 at most
        brightest = np.partition(light, -least)[-least]
        if brightest >= 3 * DIMMEST_GLASS:
            found = np.median(glass[light >= brightest - 3 * GLASS_SPREAD], axis=0)
            return float(found[0]), float(found[1]), float(found[2])
    return WHITE if pixels.max(initial=0) >= DIMMEST_GLASS else None


def _even(green: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Mark what is as bright as its neighbours to the left and above."""
    even = np.ones(green.shape, np.bool_)
    even[:, 1:] &= np.abs(np.diff(green, axis=1)) <= EVEN
    even[1:] &= np.abs(np.diff(green, axis=0)) <= EVEN
    return even
