"""Where a slide's pixels come from: its file, read by OpenSlide."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from openslide import PROPERTY_NAME_MPP_X, PROPERTY_NAME_MPP_Y, OpenSlide, OpenSlideError
from PIL import Image

from slidehook.errors import SlideUnreadable

Pixels = NDArray[np.uint8]
"""RGB, shape (rows, columns, 3)."""
SLACK = 1.005
"""By which factor a level may be coarser than asked for and still be taken as it is."""
ROUNDED = 100
"""From so many pixels on, along its side, a part may have one pixel more or less than the level."""


@dataclass(frozen=True)
class Box:
    """A rectangle in level-0 pixels: its upper left corner, width and height. It may reach beyond the slide."""

    x: float
    y: float
    width: float
    height: float


class PixelSource(Protocol):
    """Gives parts of a slide at any size. Safe for several threads."""

    @property
    def size(self) -> tuple[int, int]:
        """The slide's width and height in level-0 pixels."""

    @property
    def stated_mpp(self) -> tuple[float, float] | None:
        """What the source itself says of its pixels' size, across and down in µm; None when it says nothing."""

    def read(self, box: Box, columns: int, rows: int) -> Pixels:
        """Read a part at a size of `columns` x `rows`; white beyond the slide. Raises SlideUnreadable, DpatError."""

    def close(self) -> None:
        """Give back what the source holds."""


class FilePixels:
    """A slide's file as OpenSlide reads it. Only borrowed: whoever opened it closes it."""

    def __init__(self, slide: OpenSlide) -> None:
        self._slide = slide
        self._downsamples = slide.level_downsamples

    @property
    def size(self) -> tuple[int, int]:
        """The width and height of the file in level-0 pixels."""
        width, height = self._slide.dimensions
        return width, height

    @property
    def stated_mpp(self) -> tuple[float, float] | None:
        """The file's own pixel size, across and down in µm; None when it states none that is a number."""
        return stated_mpp(self._slide)

    def read(self, box: Box, columns: int, rows: int) -> Pixels:
        """See `PixelSource`; taken from the coarsest level that is fine enough."""
        wanted = min(box.width / columns, box.height / rows) * SLACK
        level = max(number for number, each in enumerate(self._downsamples) if each <= wanted or number == 0)
        shrink = self._downsamples[level]
        inside = (max(1, round(box.width / shrink)), max(1, round(box.height / shrink)))
        if is_rounding(inside, (columns, rows)):
            inside = (columns, rows)  # the level as it is
        try:
            picture = self._slide.read_region((round(box.x), round(box.y)), level, inside)
        except OpenSlideError as error:
            raise SlideUnreadable(f"OpenSlide cannot read the slide's pixels: {error}") from error
        return resized(rgb_on_white(picture), columns, rows)

    def close(self) -> None:
        """Nothing is held."""


def stated_mpp(slide: OpenSlide) -> tuple[float, float] | None:
    """Read a file's pixel size, across and down in µm; None when it states none, or none that is a number."""
    try:
        across = float(slide.properties[PROPERTY_NAME_MPP_X])
        down = float(slide.properties[PROPERTY_NAME_MPP_Y])
    except (KeyError, ValueError):
        return None
    return (across, down) if math.isfinite(across) and math.isfinite(down) else None


def is_rounding(inside: tuple[int, int], wanted: tuple[int, int]) -> bool:
    """Say whether two sizes differ by a pixel at most, which is too little to be worth a resizing.

    Of a small part a pixel is much: it would show less than was asked for, at another resolution.
    """
    return all(abs(one - other) <= min(1, other / ROUNDED) for one, other in zip(inside, wanted, strict=True))


def rgb_on_white(picture: Image.Image) -> Pixels:
    """Give an RGBA picture's pixels as RGB, white where the slide has none."""
    # Packed by Pillow, which takes a third of the time that converting the picture does.
    if np.frombuffer(picture.tobytes("raw", "A"), np.uint8).min() < 255:
        ground = Image.new("RGB", picture.size, "white")
        ground.paste(picture, mask=picture.getchannel("A"))
        return np.asarray(ground)
    return np.frombuffer(picture.tobytes("raw", "RGB"), np.uint8).reshape(picture.height, picture.width, 3)


def resized(pixels: Pixels, columns: int, rows: int) -> Pixels:
    """Give RGB pixels at another size: averaged when it shrinks, interpolated when it grows."""
    if pixels.shape[:2] == (rows, columns):
        return pixels
    shrinks = pixels.shape[1] >= columns
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(pixels).resize((columns, rows), method))
