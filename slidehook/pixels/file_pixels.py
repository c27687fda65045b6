"""The pixels of a slide's file: read directly where this provably gives the same pixels, otherwise by OpenSlide."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
from openslide import (
    PROPERTY_NAME_MPP_X,
    PROPERTY_NAME_MPP_Y,
    PROPERTY_NAME_OBJECTIVE_POWER,
    OpenSlide,
    OpenSlideError,
)
from PIL import Image

from slidehook.errors import SlideUnreadable
from slidehook.pixels.direct import DirectReader
from slidehook.pixels.level_similarity import Level
from slidehook.pixels.levels import PyramidLevels
from slidehook.pixels.ordered_map import ordered_map
from slidehook.pixels.resampling import WHOLE, copied, read_resampled, resized
from slidehook.pixels.shrinking import suffices
from slidehook.pixels.source import Box, Pixels

LEVEL_TOLERANCE = 1.005
"""The factor by which a level may be coarser than requested and still be used unscaled."""
SHRINKS = (8, 4, 2)
"""The factors by which a decoder may shrink, largest first."""
PART_PX = 2048
"""A larger region is read in parts of about this side, in pixels of the level, to limit memory use."""

LARGE_TILE_PX, MAX_TILE_PX = 2048**2, 6144**2
"""Tiles with more pixels than the first are decoded one at a time; tiles with more than the second are refused."""


class FilePixels:
    """The pixels of a slide's file. The caller opens the slide, and closes it after this object."""

    def __init__(self, slide: OpenSlide, path: Path | None = None) -> None:
        """`slide`: the open slide; `path`: its file, which is opened again to check its levels (see `PyramidLevels`).

        Without `path` nothing is read directly.
        """
        self._slide = slide
        self._path = path
        # Read now: OpenSlide returns none of these once it has met a damaged part.
        self._stated = slide.level_downsamples
        self._sizes = slide.level_dimensions
        self._tiles = [_tile_size(slide, number) for number in range(slide.level_count)]
        self._levels = PyramidLevels(slide, path)
        self._large_tile_lock = threading.Lock()
        self._direct: DirectReader | None = None
        self._direct_lock = threading.Lock()
        self._is_read_by = {"directly": False, "by OpenSlide": False}

    @property
    def how_read(self) -> str:
        """How pixels have been read so far: "directly", "by OpenSlide", or both; empty if no pixels were read."""
        return " and ".join(way for way, is_used in self._is_read_by.items() if is_used)

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
        """The objective power that the file states; None if it states no positive number."""
        return objective_power(self._slide)

    @property
    def opened(self) -> OpenSlide:
        """The open slide."""
        return self._slide

    def read(self, box: Box, columns: int, rows: int, *, exact: bool = False, into: Pixels | None = None) -> Pixels:
        """See `PixelSource`; reads the coarsest level that is fine enough and whose scale its pixels confirm."""
        if exact:
            whole = Level(0, 1.0, *self._sizes[0])
            return self._read_at(lambda *_: whole, box, columns, rows, into)
        return self._read_at(self._cheapest, box, columns, rows, into)

    def _read_at(
        self,
        choose: Callable[[Box, int, int], Level],
        box: Box,
        columns: int,
        rows: int,
        into: Pixels | None = None,
    ) -> Pixels:
        level = choose(box, columns, rows)
        coarsest = max(box.width / columns, box.height / rows) / level.downsample
        if coarsest >= 1 and box.width * box.height > (PART_PX * level.downsample) ** 2:
            read = partial(self._read_at, choose)
            times = math.ceil(coarsest / PART_PX)
            if times > 1:  # so coarse that a single pixel covers a large region
                return copied(resized(read(box, columns * times, rows * times), columns, rows), into)
            return copied(read_in_parts(read, box, columns, rows, side=int(PART_PX / coarsest)), into)
        return read_resampled(partial(self._read_level, level), box.scaled(1 / level.downsample), columns, rows, into)

    def _cheapest(self, box: Box, columns: int, rows: int) -> Level:
        """Return the level to read a region from, shrunk by its decoder as far as accuracy allows."""
        level = self._levels.best(min(box.width / columns, box.height / rows) * LEVEL_TOLERANCE)
        in_level = box.scaled(1 / level.downsample)
        direct = self._opened_directly()
        if direct is None or min(in_level.width / columns, in_level.height / rows) < SHRINKS[-1] - WHOLE:
            return level
        fit = direct.fit_shrinks(level.number)
        for by in SHRINKS:
            if by in fit and suffices(in_level.scaled(1 / by), columns, rows, least=fit[by]):
                return level.shrunk(by)
        return level

    def _read_level(
        self, level: Level, column: int, row: int, size: tuple[int, int], into: Pixels | None = None
    ) -> Pixels:
        """Read a region of a level by its corner and size in the level's own pixels; padding becomes white."""
        direct = self._opened_directly()
        pixels = None
        if direct is not None:
            pixels = direct.read(level, column, row, size, into=into)
        if pixels is not None:
            self._is_read_by["directly"] = True
        elif level.shrink > 1:
            by = level.shrink
            whole = Level(level.number, level.downsample / by, *self._sizes[level.number])
            pixels = resized(self._read_level(whole, column * by, row * by, (size[0] * by, size[1] * by)), *size)
        else:
            pixels = self._read_by_openslide(level, column, row, size)
            self._is_read_by["by OpenSlide"] = True
        if self._is_padded(level):
            pixels = pixels if pixels.flags.writeable else pixels.copy()
            pixels[max(0, level.rows - row) :] = 255
            pixels[:, max(0, level.columns - column) :] = 255
        return copied(pixels, into)

    def _is_padded(self, level: Level) -> bool:
        columns, rows = (-(-side // level.shrink) for side in self._sizes[level.number])
        return (level.columns, level.rows) != (columns, rows)

    def _opened_directly(self) -> DirectReader | None:
        if self._path is None:
            return None
        with self._direct_lock:
            if self._direct is None:
                self._direct = DirectReader(self._path, self._sizes, self._stated)
            return self._direct

    def _read_by_openslide(self, level: Level, column: int, row: int, size: tuple[int, int]) -> Pixels:
        number = level.number
        # OpenSlide divides by the file's stated scale. Positions are rounded down where padding could be blended in.
        whole = math.floor if self._is_padded(level) else round
        at = (whole(column * self._stated[number]), whole(row * self._stated[number]))
        try:
            with self._decoding_slot(number):
                picture = self._slide.read_region(at, number, size)
        except OpenSlideError as error:
            raise SlideUnreadable.said_by(error, "the slide's pixels") from error
        return rgb_on_white(picture)

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
        """Close the file that was opened for direct reading; the slide stays open."""
        with self._direct_lock:
            if self._direct is not None:
                self._direct.close()
                self._direct = None


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
    """Return the objective power that a file states; None if it states no positive number."""
    try:
        power = float(slide.properties[PROPERTY_NAME_OBJECTIVE_POWER])
    except (KeyError, ValueError):
        return None
    return power if math.isfinite(power) and power > 0 else None


def rgb_on_white(picture: Image.Image) -> Pixels:
    """Return an RGBA image as RGB pixels, white where it is transparent."""
    # Packing by Pillow takes a third of the time of converting the image.
    if np.frombuffer(picture.tobytes("raw", "A"), np.uint8).min() < 255:
        ground = Image.new("RGB", picture.size, "white")
        ground.paste(picture, mask=picture.getchannel("A"))
        return np.asarray(ground)
    return np.frombuffer(picture.tobytes("raw", "RGB"), np.uint8).reshape(picture.height, picture.width, 3)
