"""Measures the colour of a slide's empty glass: the light relative to which optical densities are computed."""

from __future__ import annotations

import math

import numpy as np
import scipy
from numpy.typing import NDArray

from slidehook.errors import AppError
from slidehook.pixels.source import Pixels

Colour = tuple[float, float, float]
"""Red, green, blue: optical densities for a stain, values 0…255 for light."""
WHITE: Colour = (255.0, 255.0, 255.0)

NEUTRAL = 30
"""The largest difference between the channels of empty glass, of 255."""
EVEN = 2
"""The largest difference between neighbouring pixels of glass, of 255; dust and glare are seldom this even."""
DIMMEST_GLASS = 150
"""The least brightness of glass, of 255; nothing can be measured on a slide with darker glass."""
GLASS_SPREAD = 8
"""The largest difference between pixels of glass and its brightest pixels, of 255."""
YELLOW, BRIGHT_YELLOW = 80, 200
"""The largest difference between red and blue in yellowed glass, and the least mean of its channels, of 255."""
FILLED = 8
"""The brightest channel, of 255, up to which a pixel may be black fill from the scanner."""
DARK = 90
"""The brightest channel, of 255, below which a pixel is dark background."""
MOST_DARK, LEAST_BRIGHT = 0.25, 0.25
"""A background is dark if more than the first fraction of the picture is dark, and glass is less than the second
fraction of the dark part. A bright-field slide has dark parts too: pen marks, pigment, and the holder's edge."""
LEAST_GLASS = 0.001
"""The least fraction of an overview that must look like glass for its colour to be used."""
ENOUGH_PX = 2000
"""A larger overview is sampled at about this many rows and columns."""


def glass_colour(overview: Pixels) -> Colour | None:
    """Return the colour of empty glass in an overview of a slide (uint8 RGB); `WHITE` if it shows no glass.

    Glass is the brightest colourless area, preferably an even one; yellowish areas are used if there is no such area,
    or only a much darker one. Pure white is used only if there is no other glass, because scanners fill unscanned
    areas with it. Returns None if no stain can be measured on the slide: all of it is darker than `DIMMEST_GLASS`, or
    the background is dark (fluorescence, dark field). Black rectangles beside a bright-field picture are not a dark
    background, because scanners fill unscanned areas with black too.
    """
    every = max(1, max(overview.shape[:2]) // ENOUGH_PX)
    pixels = overview[::every, ::every].astype(np.int16)
    least = math.ceil(max(4, LEAST_GLASS * pixels.size / 3))
    # Channel by channel, because numpy's min and max over an axis of length 3 are ten times slower.
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
            # On yellowed glass, darker neutral pixels are tissue.
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
    """Return the median of the brightest pixels; None if fewer than `least` are at least as bright as `dimmest`."""
    if len(glass) < least:
        return None
    light = glass[:, 0] + glass[:, 1] + glass[:, 2]  # 765 at most
    brightest = np.partition(light, -least)[-least]
    if brightest < 3 * dimmest:
        return None
    found = np.median(glass[light >= brightest - 3 * GLASS_SPREAD], axis=0)
    return float(found[0]), float(found[1]), float(found[2])


def _on_dark_ground(brightest: NDArray[np.int16], darkest: NDArray[np.int16], even: NDArray[np.bool_]) -> bool:
    """Return whether the background is dark; `even` marks neutral pixels that are like their neighbours.

    Areas filled by the scanner are ignored. Black counts as filled only beside part of a bright-field picture: glass,
    or stained tissue, which transmits some light of all colours, but not equally.
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
    """Return the smoothed mask if its edges run along rows and columns, as in filled areas; else an empty one."""
    if np.count_nonzero(mask) < 0.01 * mask.size:
        return np.zeros_like(mask)
    smooth: NDArray[np.bool_] = scipy.ndimage.uniform_filter(mask.astype(np.float32), 9, mode="nearest") > 0.5
    four = smooth[1:, 1:].astype(np.int8) + smooth[:-1, 1:] + smooth[1:, :-1] + smooth[:-1, :-1]
    corners, edge = np.count_nonzero((four == 1) | (four == 3)), np.count_nonzero((four > 0) & (four < 4))
    return smooth if corners <= 0.25 * edge else np.zeros_like(mask)


def _even(green: NDArray[np.int16], by: int) -> NDArray[np.bool_]:
    """Mark the pixels that differ by at most `by` from their neighbours to the left and above."""
    even = np.ones(green.shape, np.bool_)
    even[:, 1:] &= np.abs(np.diff(green, axis=1)) <= by
    even[1:] &= np.abs(np.diff(green, axis=0)) <= by
    return even
