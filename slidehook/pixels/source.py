"""Sources of a slide's pixels. This one is the slide's file, read by OpenSlide."""

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
from slidehook.pixels.level_similarity import Level
from slidehook.pixels.levels import PyramidLevels
from slidehook.pixels.ordered_map import ordered_map

Pixels = NDArray[np.uint8]
"""RGB, shape (rows, columns, 3)."""
LEVEL_TOLERANCE = 1.005
"""The factor by which a level may be coarser than requested and still be used unscaled."""
ROUNDED = 100
"""A side of at least this many pixels may differ from the requested one by a pixel."""

PART_PX = 2048
"""A larger region is read in parts of about this side, in pixels of the level, to limit the memory."""

LARGE_TILE_PX, MAX_TILE_PX = 2048**2, 6144**2
"""Tiles with more pixels than the first are decoded one at a time; tiles with more than the second are refused."""


@dataclass(frozen=True)
class Box:
    """A rectangle in level-0 pixels: its upper left corner, width and height. It may reach beyond the slide."""

    x: float
    y: float
    width: float
    height: float


class PixelSource(Protocol):
    """Returns regions of a slide at any size. Thread-safe."""

    @property
    def size(self) -> tuple[int, int]:
        """The slide's width and height in level-0 pixels."""

    @property
    def stated_mpp(self) -> tuple[float, float] | None:
        """The pixel size that the source itself states, across and down in µm; None if it states none."""

    @property
    def objective_power(self) -> float | None:
        """The objective's power that the source states, such as 40; None if it states none."""

    def read(self, box: Box, columns: int, rows: int) -> Pixels:
        """Read a region as `columns` x `rows` pixels, white outside the slide. Raises SlideUnreadable, DpatError."""

    def close(self) -> None:
        """Release the source's resources."""


class FilePixels:
    """A slide's file, read by OpenSlide. The caller that opened the slide closes it."""

    def __init__(self, slide: OpenSlide, path: Path | None = None) -> None:
        """`slide` is open; `path`: its file, which is opened again to check its levels (see `PyramidLevels`)."""
        self._slide = slide
        # Read now: after a damaged part, OpenSlide returns none of these.
        self._stated = slide.level_downsamples
        self._sizes = slide.level_dimensions
        self._tiles = [_tile_size(slide, number) for number in range(slide.level_count)]
        self._levels = PyramidLevels(slide, path)
        self._large_tile_lock = threading.Lock()

    @property
    def size(self) -> tuple[int, int]:
        """The width and height of the file in level-0 pixels."""
        width, height = self._sizes[0]
        return width, height

    @property
    def stated_mpp(self) -> tuple[float, float] | None:
        """The file's own pixel size, across and down in µm; None if it states no finite number."""
        return stated_mpp(self._slide)

    @property
    def objective_power(self) -> float | None:
        """The objective's power that the file states; None if it states no positive number."""
        return objective_power(self._slide)

    @property
    def opened(self) -> OpenSlide:
        """The open slide."""
        return self._slide

    def read(self, box: Box, columns: int, rows: int) -> Pixels:
        """See `PixelSource`; reads the coarsest level that is fine enough and whose scale its pixels prove."""
        return self._read(box, columns, rows)

    def _read(self, box: Box, columns: int, rows: int) -> Pixels:
        across, down = box.width / columns, box.height / rows
        level = self._levels.best(min(across, down) * LEVEL_TOLERANCE)
        coarsest = max(across, down) / level.downsample
        if coarsest >= 1 and box.width * box.height > (PART_PX * level.downsample) ** 2:
            times = math.ceil(coarsest / PART_PX)
            if times > 1:  # so coarse that a single pixel covers a large region
                return resized(self._read(box, columns * times, rows * times), columns, rows)
            return read_in_parts(self._read, box, columns, rows, side=int(PART_PX / coarsest))
        inside = (max(1, round(box.width / level.downsample)), max(1, round(box.height / level.downsample)))
        if differ_by_rounding(inside, (columns, rows)):
            inside = (columns, rows)  # the level's own pixels
        return resized(self._read_level(level, box.x, box.y, inside), columns, rows)

    def _read_level(self, level: Level, x: float, y: float, size: tuple[int, int]) -> Pixels:
        """Read a region of a level by its corner in level-0 pixels; padding becomes white."""
        is_padded = (level.columns, level.rows) != self._sizes[level.number]
        column, row = round(x / level.downsample), round(y / level.downsample)
        at = (round(x), round(y))
        if is_padded:
            # OpenSlide divides by the scale that the file states. Rounded down, so that no padding is blended in.
            stated = self._stated[level.number]
            at = (math.floor(column * stated), math.floor(row * stated))
        try:
            with self._decoding_slot(level.number):
                picture = self._slide.read_region(at, level.number, size)
        except OpenSlideError as error:
            raise SlideUnreadable.said_by(error, "the slide's pixels") from error
        pixels = rgb_on_white(picture)
        if is_padded:
            pixels = pixels.copy()
            pixels[max(0, level.rows - row) :] = 255
            pixels[:, max(0, level.columns - column) :] = 255
        return pixels

    def _decoding_slot(self, number: int) -> AbstractContextManager[object]:
        """Limit the memory for the file's own tiles: large ones are decoded one at a time.

        Raises SlideUnreadable if a single tile is too large.
        """
        columns, rows = self._tiles[number]
        if columns * rows > MAX_TILE_PX:
            raise SlideUnreadable(
                f"the slide's file stores tiles of {columns} x {rows} pixels, which need too much memory"
            )
        return self._large_tile_lock if columns * rows > LARGE_TILE_PX else nullcontext()

    def close(self) -> None:
        """Do nothing: the slide belongs to the caller."""


def read_in_parts(
    read: Callable[[Box, int, int], Pixels], box: Box, columns: int, rows: int, *, side: int, threads: int = 1
) -> Pixels:
    """Assemble a region of a slide from parts of at most `side` x `side` pixels, read by `read`."""
    across, down = box.width / columns, box.height / rows
    whole = np.empty((rows, columns, 3), np.uint8)

    def fill(place: tuple[int, int]) -> None:
        x, y = place
        part = whole[y : y + side, x : x + side]
        height, width = part.shape[:2]
        part[...] = read(Box(box.x + x * across, box.y + y * down, width * across, height * down), width, height)

    places = [(x, y) for y in range(0, rows, side) for x in range(0, columns, side)]
    for _ in (
        ordered_map(fill, places, threads=threads, max_pending=threads, name="parts")
        if threads > 1
        else map(fill, places)
    ):
        pass
    return whole


def _tile_size(slide: OpenSlide, number: int) -> tuple[int, int]:
    """Return the columns and rows of a level's tiles in the file; (0, 0) if the format has no fixed tile size."""
    try:
        columns, rows = (
            int(slide.properties[f"openslide.level[{number}].tile-{side}"]) for side in ("width", "height")
        )
    except (KeyError, ValueError):
        return 0, 0
    return columns, rows


def stated_mpp(slide: OpenSlide) -> tuple[float, float] | None:
    """Return a file's pixel size, across and down in µm; None if it states no finite number."""
    try:
        across = float(slide.properties[PROPERTY_NAME_MPP_X])
        down = float(slide.properties[PROPERTY_NAME_MPP_Y])
    except (KeyError, ValueError):
        return None
    return (across, down) if math.isfinite(across) and math.isfinite(down) else None


def objective_power(slide: OpenSlide) -> float | None:
    """Return the objective's power that a file states; None if it states no positive number."""
    try:
        power = float(slide.properties[PROPERTY_NAME_OBJECTIVE_POWER])
    except (KeyError, ValueError):
        return None
    return power if math.isfinite(power) and power > 0 else None


def differ_by_rounding(inside: tuple[int, int], wanted: tuple[int, int]) -> bool:
    """Whether two sizes differ by at most a pixel, too little to be worth resizing.

    A small region must match exactly: a pixel would change its resolution noticeably.
    """
    return all(abs(one - other) <= min(1, other / ROUNDED) for one, other in zip(inside, wanted, strict=True))


def rgb_on_white(picture: Image.Image) -> Pixels:
    """Return an RGBA image as RGB pixels, white where it is transparent."""
    # Packing by Pillow takes a third of the time of converting the image.
    if np.frombuffer(picture.tobytes("raw", "A"), np.uint8).min() < 255:
        ground = Image.new("RGB", picture.size, "white")
        ground.paste(picture, mask=picture.getchannel("A"))
        return np.asarray(ground)
    return np.frombuffer(picture.tobytes("raw", "RGB"), np.uint8).reshape(picture.height, picture.width, 3)


def resized(pixels: Pixels, columns: int, rows: int) -> Pixels:
    """Resize RGB pixels: averaged when shrinking, interpolated when enlarging."""
    if pixels.shape[:2] == (rows, columns):
        return pixels
    shrinks = pixels.shape[1] >= columns
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(pixels).resize((columns, rows), method))
