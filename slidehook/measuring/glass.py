"""Tells what empty glass looks like on a slide: the light that every stain's density is counted from."""

from __future__ import annotations

import math

import numpy as np
import scipy
from numpy.typing import NDArray

from slidehook.errors import AppError
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
YELLOW, BRIGHT_YELLOW = 80, 200
"""By how much, of 255, red and blue of yellowed glass may differ, and the mean of its channels at least."""
FILLED = 8
"""The brightest channel, of 255, up to which a pixel may be what a scanner has filled up with black."""
DARK = 90
"""The brightest channel, of 255, below which a pixel belongs to a dark ground."""
MOST_DARK, LEAST_BRIGHT = 0.25, 0.25
"""The part of a picture from which on a dark ground is one, and how much glass, as a part of it, says that it's none.

A bright-field slide has dark parts too: pens, pigment, and its holder's edge beside glass."""
LEAST_GLASS = 0.001
"""The part of an overview that glass must take to be believed."""
ENOUGH_PX = 2000
"""Of a larger overview about so many rows and columns are looked at."""


def glass_colour(overview: Pixels) -> Colour | None:
    """Return the colour of empty glass in an overview of a slide (uint8 RGB); `WHITE` when it shows none.

    Glass is what is brightest and without a colour, or else yellowish, and even if there is such. Pure white does not
    count while there is other glass: scanners fill with it where they have not looked. None when no stain can be
    measured on the slide: all is darker than `DIMMEST_GLASS`, or the ground is dark (fluorescence, dark field).
    Rectangles of black are what scanners fill with as well, and no dark ground where there is a bright-field picture
    beside them.
    """
    every = max(1, max(overview.shape[:2]) // ENOUGH_PX)
    pixels = overview[::every, ::every].astype(np.int16)
    least = math.ceil(max(4, LEAST_GLASS * pixels.size / 3))
    # Channel by channel: over so short an axis numpy's own are ten times as slow.
    red, green, blue = (pixels[..., channel] for channel in range(3))
    darkest = np.minimum(np.minimum(red, green), blue)
    brightest = np.maximum(np.maximum(red, green), blue)
    neutral = brightest - darkest <= NEUTRAL
    if _on_dark_ground(brightest, darkest, neutral & _even(green, 3 * EVEN)):
        return None
    scanned = neutral & (darkest < 255)
    even = _even(green, EVEN)
    yellow = even & ~neutral & (red - blue <= YELLOW) & (red >= green) & (2 * (red - green) <= green - blue)
    yellowed = _brightest(pixels[yellow], least, BRIGHT_YELLOW)
    for glass in (pixels[scanned & even], pixels[scanned], pixels[neutral]):
        if (found := _brightest(glass, least, DIMMEST_GLASS)) is not None:
            # What is neutral on yellowed glass is darker: tissue.
            return yellowed if yellowed and sum(yellowed) > sum(found) + 3 * GLASS_SPREAD else found
    return yellowed or WHITE


def require_glass(overview: Pixels) -> Colour:
    """Return the colour of empty glass; raises AppError with one sentence where `glass_colour` returns None."""
    colour = glass_colour(overview)
    if colour is None:
        raise AppError(
            "nothing can be measured: the slide is too dark, or was taken on a dark ground (fluorescence, dark field)"
        )
    return colour


def _brightest(glass: NDArray[np.int16], least: int, dimmest: int) -> Colour | None:
    """Return the middle of the brightest colours of what may be glass; None with fewer than `least` such pixels."""
    if len(glass) < least:
        return None
    light = glass[:, 0] + glass[:, 1] + glass[:, 2]  # 765 at most
    brightest = np.partition(light, -least)[-least]
    if brightest < 3 * dimmest:
        return None
    found = np.median(glass[light >= brightest - 3 * GLASS_SPREAD], axis=0)
    return float(found[0]), float(found[1]), float(found[2])


def _on_dark_ground(brightest: NDArray[np.int16], darkest: NDArray[np.int16], even: NDArray[np.bool_]) -> bool:
    """Return whether a picture is seen against darkness; `even` marks what is neutral and like its neighbours.

    Judged without what a scanner has filled. Black counts as filled only beside something of a bright-field picture:
    glass, or what light of all colours passes through, but not evenly, as through stained tissue.
    """
    if brightest.max(initial=0) < DIMMEST_GLASS:
        return True
    dark = (brightest < DARK) | (even & (brightest < DIMMEST_GLASS))
    glass = even & (darkest >= DIMMEST_GLASS) & (darkest < 255)
    filled = _rectangles(brightest <= FILLED)
    seen = (darkest < 255) & ~filled
    stained = seen & (brightest >= DARK + 40) & (darkest >= DARK // 2) & (brightest - darkest >= NEUTRAL // 2)
    bright, size = np.count_nonzero(glass), np.count_nonzero(seen)
    if bright < 0.05 * size and np.count_nonzero(stained) < 0.5 * size:
        seen |= filled
    in_the_dark = np.count_nonzero(dark & seen)
    return bool(in_the_dark > MOST_DARK * np.count_nonzero(seen) and bright < LEAST_BRIGHT * in_the_dark)


def _rectangles(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask smoothed where its edges run along rows and columns, as of filled parts; else an empty one."""
    if np.count_nonzero(mask) < 0.01 * mask.size:
        return np.zeros_like(mask)
    smooth: NDArray[np.bool_] = scipy.ndimage.uniform_filter(mask.astype(np.float32), 9, mode="nearest") > 0.5
    four = smooth[1:, 1:].astype(np.int8) + smooth[:-1, 1:] + smooth[1:, :-1] + smooth[:-1, :-1]
    corners, edge = np.count_nonzero((four == 1) | (four == 3)), np.count_nonzero((four > 0) & (four < 4))
    return smooth if corners <= 0.25 * edge else np.zeros_like(mask)


def _even(green: NDArray[np.int16], by: int) -> NDArray[np.bool_]:
    """Mark what is as bright as its neighbours to the left and above, but for `by`."""
    even = np.ones(green.shape, np.bool_)
    even[:, 1:] &= np.abs(np.diff(green, axis=1)) <= by
    even[1:] &= np.abs(np.diff(green, axis=0)) <= by
    return even
