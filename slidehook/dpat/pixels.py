"""A slide's pixels from DPAT's own pyramid, tile by tile over HTTP, without its files."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from slidehook.dpat.errors import Malformed, NotFound
from slidehook.dpat.iaapi.client import DpatClient
from slidehook.dpat.iaapi.response_limits import MAX_TILE_SIDE_PX, max_tile_bytes, max_tile_px
from slidehook.dpat.pictures import read_picture
from slidehook.errors import SlideUnreadable
from slidehook.models import ImageInfo
from slidehook.pixels.file_pixels import LEVEL_TOLERANCE
from slidehook.pixels.resampling import read_resampled
from slidehook.pixels.source import Box, Pixels
from slidehook.pixels.tile_cache import TileCache

CACHE_BYTES = 128 * 1024 * 1024
"""The size of the cache of decoded tiles: some rows of a slide, so that neighbouring reads need no second call."""
MAX_TILES = 4096
"""The most tiles per read."""
ROUNDED_PX = 1
"""How many pixels a tile may be too small: not every server rounds up half pixels at a slide's edge."""


def why_no_tiles(info: ImageInfo) -> str:
    """Return why DPAT can't serve a slide's tiles, according to its record; empty when it can."""
    size, tile = info.image_size, info.tile_size
    if info.is_streamable is False:
        return "DPAT can't serve this slide in tiles"
    if size is None or tile is None or min(size.width, size.height, tile.width, tile.height) <= 0:
        return "DPAT does not state the size of the slide and of its tiles"
    if max(tile.width, tile.height) > MAX_TILE_SIDE_PX:
        return f"DPAT's tiles are larger than {MAX_TILE_SIDE_PX} pixels"
    return ""


class DpatPixels:
    """The tiles of one slide. Deep Zoom: each level has half the pixels of the next, the last is full size."""

    def __init__(self, client: DpatClient, info: ImageInfo) -> None:
        """Use the sizes from the record; raises SlideUnreadable when it rules out reading in tiles."""
        size, tile = info.image_size, info.tile_size
        if (reason := why_no_tiles(info)) or size is None or tile is None:
            raise SlideUnreadable(reason)
        self._client = client
        self._info = info
        self._size = (size.width, size.height)
        self._announced = tile
        self._tile = (tile.width, tile.height)
        self._top = math.ceil(math.log2(max(self._size)))
        self._cache: TileCache[tuple[int, int, int]] = TileCache(CACHE_BYTES)

    @property
    def size(self) -> tuple[int, int]:
        """The slide's width and height in level-0 pixels."""
        return self._size

    @property
    def stated_mpp(self) -> tuple[float, float] | None:
        """None: tiles do not contain their pixel size."""
        return None

    @property
    def objective_power(self) -> float | None:
        """None: tiles do not contain the objective's power."""
        return None

    def read(self, box: Box, columns: int, rows: int, *, exact: bool = False, into: Pixels | None = None) -> Pixels:
        """See `PixelSource`."""
        wanted = min(box.width / columns, box.height / rows) * LEVEL_TOLERANCE
        down = max(0, min(self._top, math.floor(math.log2(wanted)))) if wanted >= 1 and not exact else 0
        shrink = 2**down
        in_level = Box(box.x / shrink, box.y / shrink, box.width / shrink, box.height / shrink)
        return read_resampled(partial(self._assemble, down), in_level, columns, rows, into)

    def _assemble(self, down: int, left: int, top: int, size: tuple[int, int], into: Pixels | None = None) -> Pixels:
        """Return a rectangle of a level, in the level's own pixels."""
        width, height = size
        across, along = self._tile
        level_width, level_height = (math.ceil(each / 2**down) for each in self._size)
        right, bottom = min(left + width, level_width), min(top + height, level_height)
        span = range(max(0, left) // across, math.ceil(max(0, right) / across))
        lines = range(max(0, top) // along, math.ceil(max(0, bottom) / along))
        if len(span) * len(lines) > MAX_TILES:
            raise SlideUnreadable(f"{width} x {height} pixels are too many for one read in tiles")
        part = np.empty((height, width, 3), np.uint8) if into is None else into
        part[...] = 255
        for row in lines:
            for column in span:
                key = (self._top - down, column, row)
                tile = self._cache.get(key, partial(self._fetch, *key))
                x, y = column * across - left, row * along - top
                x0, y0 = max(0, x), max(0, y)
                x1, y1 = min(width, x + tile.shape[1], right - left), min(height, y + tile.shape[0], bottom - top)
                if x1 > x0 and y1 > y0:
                    part[y0:y1, x0:x1] = tile[y0 - y : y1 - y, x0 - x : x1 - x]
        return part

    def _fetch(self, level: int, column: int, row: int) -> Pixels:
        content = self._client.tile(
            self._info.id, level, column, row, self._info.tile_extension, max_bytes=max_tile_bytes(self._announced)
        )
        if content is None:
            raise NotFound(f"DPAT has no tile {column}, {row} of level {level}.")
        what = f"DPAT's tile {column}, {row} of level {level}"
        tile = np.asarray(read_picture(content, what, max_px=max_tile_px(self._announced)))
        down = 2 ** (self._top - level)
        width = min(self._tile[0], math.ceil(self._size[0] / down) - column * self._tile[0])
        height = min(self._tile[1], math.ceil(self._size[1] / down) - row * self._tile[1])
        if tile.shape[1] < width - ROUNDED_PX or tile.shape[0] < height - ROUNDED_PX:
            # The missing part would be white and look like glass.
            sizes = f"{tile.shape[1]} x {tile.shape[0]} pixels instead of {width} x {height}"
            raise Malformed(f"{what} has {sizes}.")
        return tile

    def close(self) -> None:
        """Drop the cached tiles."""
        self._cache.clear()
