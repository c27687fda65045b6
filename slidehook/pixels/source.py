"""Where a slide's pixels come from: its file, read by OpenSlide."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from openslide import (
    PROPERTY_NAME_MPP_X,
    PROPERTY_NAME_MPP_Y,
    PROPERTY_NAME_OBJECTIVE_POWER,
    OpenSlide,
    OpenSlideError,
)
from PIL import Image

from slidehook.errors import SlideUnreadable
from slidehook.pixels.comparing import Level
from slidehook.pixels.levels import Levels
from slidehook.pixels.ordered_map import ordered_map

Pixels = NDArray[np.uint8]
"""RGB, shape (rows, columns, 3)."""
SLACK = 1.005
"""By which factor a level may be coarser than asked for and still be taken as it is."""
ROUNDED = 100
"""From so many pixels on, along its side, a part may have one pixel more or less than the level."""

PART_PX = 2048
"""A larger part is read in parts of about this side, in pixels of the level, so that memory does not grow with it."""

LARGE_TILE_PX, MOST_TILE_PX = 2048**2, 6144**2
"""A file's tiles with more pixels than the first are decoded one at a time, with more than the second not at all."""


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

    @property
    def objective_power(self) -> float | None:
        """What the source says of the objective's power, such as 40; None when it says nothing."""

    def read(self, box: Box, columns: int, rows: int) -> Pixels:
        """Read a part at a size of `columns` x `rows`; white beyond the slide. Raises SlideUnreadable, DpatError."""

    def close(self) -> None:
        """Give back what the source holds."""


class FilePixels:
    """A slide's file as OpenSlide reads it. Only borrowed: whoever opened it closes it."""

    def __init__(self, slide: OpenSlide, path: Path | None = None) -> None:
        """Take an open slide and its path, by which it is opened once more to look at its levels (see `Levels`)."""
        self._slide = slide
        # Asked for now: after one damaged part OpenSlide does not even tell these any more.
        self._stated = slide.level_downsamples
        self._sizes = slide.level_dimensions
        self._tiles = [_tile_size(slide, number) for number in range(slide.level_count)]
        self._levels = Levels(slide, path)
        self._one_at_a_time = threading.Lock()

    @property
    def size(self) -> tuple[int, int]:
        """The width and height of the file in level-0 pixels."""
        width, height = self._sizes[0]
        return width, height

    @property
    def stated_mpp(self) -> tuple[float, float] | None:
        """The file's own pixel size, across and down in µm; None when it states none that is a number."""
        return stated_mpp(self._slide)

    @property
    def objective_power(self) -> float | None:
        """The power of the objective as the file states it; None when it states none that is a number."""
        return objective_power(self._slide)

    @property
    def opened(self) -> OpenSlide:
        """The slide as it was opened."""
        return self._slide

    def read(self, box: Box, columns: int, rows: int) -> Pixels:
        """See `PixelSource`; taken from the coarsest level that is fine enough, and whose scale its pixels prove."""
        return self._read(box, columns, rows)

    def _read(self, box: Box, columns: int, rows: int) -> Pixels:
        across, down = box.width / columns, box.height / rows
        level = self._levels.best(min(across, down) * SLACK)
        coarsest = max(across, down) / level.shrink
        if coarsest >= 1 and box.width * box.height > (PART_PX * level.shrink) ** 2:
            times = math.ceil(coarsest / PART_PX)
            if times > 1:  # so coarse that what makes one pixel is a large part by itself
                return resized(self._read(box, columns * times, rows * times), columns, rows)
            return in_parts(self._read, box, columns, rows, side=int(PART_PX / coarsest))
        inside = (max(1, round(box.width / level.shrink)), max(1, round(box.height / level.shrink)))
        if is_rounding(inside, (columns, rows)):
            inside = (columns, rows)  # the level as it is
        return resized(self._read_level(level, box.x, box.y, inside), columns, rows)

    def _read_level(self, level: Level, x: float, y: float, size: tuple[int, int]) -> Pixels:
        """Give a part of a level, by its corner in level-0 pixels; what was only padded is white."""
        is_padded = (level.columns, level.rows) != self._sizes[level.number]
        column, row = round(x / level.shrink), round(y / level.shrink)
        at = (round(x), round(y))
        if is_padded:
            # OpenSlide divides by the scale that the file states. Rounded down, so that no padding is blended in.
            stated = self._stated[level.number]
            at = (math.floor(column * stated), math.floor(row * stated))
        try:
            with self._room(level.number):
                picture = self._slide.read_region(at, level.number, size)
        except OpenSlideError as error:
            raise SlideUnreadable.said_by(error, "the slide's pixels") from error
        pixels = rgb_on_white(picture)
        if is_padded:
            pixels = pixels.copy()
            pixels[max(0, level.rows - row) :] = 255
            pixels[:, max(0, level.columns - column) :] = 255
        return pixels

    def _room(self, number: int) -> AbstractContextManager[object]:
        """Keep what the file's own tiles take in memory small: of large ones, one is decoded at a time.

        Raises SlideUnreadable where a single one takes too much.
        """
        columns, rows = self._tiles[number]
        if columns * rows > MOST_TILE_PX:
            raise SlideUnreadable(
                f"the slide's file stores tiles of {columns} x {rows} pixels, which take too much memory"
            )
        return self._one_at_a_time if columns * rows > LARGE_TILE_PX else nullcontext()

    def close(self) -> None:
        """Nothing is held."""


def in_parts(
    read: Callable[[Box, int, int], Pixels], box: Box, columns: int, rows: int, *, side: int, threads: int = 1
) -> Pixels:
    """Put a part of a slide together from smaller ones, `side` pixels wide and high, that `read` gives."""
    across, down = box.width / columns, box.height / rows
    whole = np.empty((rows, columns, 3), np.uint8)

    def fill(place: tuple[int, int]) -> None:
        x, y = place
        part = whole[y : y + side, x : x + side]
        height, width = part.shape[:2]
        part[...] = read(Box(box.x + x * across, box.y + y * down, width * across, height * down), width, height)

    places = [(x, y) for y in range(0, rows, side) for x in range(0, columns, side)]
    for _ in (
        ordered_map(fill, places, threads=threads, ahead=threads, name="parts") if threads > 1 else map(fill, places)
    ):
        pass
    return whole


def _tile_size(slide: OpenSlide, number: int) -> tuple[int, int]:
    """Give the columns and rows of a level's tiles in the file; 0 x 0 in a format without tiles of one size."""
    try:
        columns, rows = (
            int(slide.properties[f"openslide.level[{number}].tile-{side}"]) for side in ("width", "height")
        )
    except (KeyError, ValueError):
        return 0, 0
    return columns, rows


def stated_mpp(slide: OpenSlide) -> tuple[float, float] | None:
    """Read a file's pixel size, across and down in µm; None when it states none, or none that is a number."""
    try:
        across = float(slide.properties[PROPERTY_NAME_MPP_X])
        down = float(slide.properties[PROPERTY_NAME_MPP_Y])
    except (KeyError, ValueError):
        return None
    return (across, down) if math.isfinite(across) and math.isfinite(down) else None


def objective_power(slide: OpenSlide) -> float | None:
    """Read the power of the objective that a file states; None when it states none that is a number above 0."""
    try:
        power = float(slide.properties[PROPERTY_NAME_OBJECTIVE_POWER])
    except (KeyError, ValueError):
        return None
    return power if math.isfinite(power) and power > 0 else None


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
