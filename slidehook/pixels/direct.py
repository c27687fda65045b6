"""Reads regions of a slide's file without OpenSlide, from levels whose pixels are proven to be the same."""

from __future__ import annotations

import contextlib
import os
import threading
from functools import partial
from pathlib import Path

import numpy as np

from slidehook.pixels.level_similarity import Level
from slidehook.pixels.proof import NOT_PROVEN, Proof, prove
from slidehook.pixels.source import Pixels
from slidehook.pixels.stored_level import StoredLevel, stored_levels
from slidehook.pixels.tiff_file import NotTiff
from slidehook.pixels.tile_cache import TileCache
from slidehook.pixels.tile_codecs import Undecodable, decode

CACHE_BYTES = 96 * 1024 * 1024
"""The size of the cache of decoded tiles: a row of tiles of the largest slides, so each tile is decoded once."""
_Key = tuple[int, int, int, int]


class DirectReader:
    """The levels of one file that can be read directly, each proven when it is first read. Thread-safe."""

    def __init__(self, path: Path, sizes: tuple[tuple[int, int], ...], downsamples: tuple[float, ...]) -> None:
        """`sizes`, `downsamples`: of each level, as OpenSlide states them."""
        self._path = path
        self._downsamples = downsamples
        self._levels: list[StoredLevel | None] = [None] * len(sizes)
        self._file = -1
        with contextlib.suppress(OSError, NotTiff):  # then OpenSlide, which has opened the file, reads all of it
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._levels = stored_levels(self._file, sizes)
        self._proofs: dict[int, Proof] = {}
        self._lock = threading.Lock()
        self._cache: TileCache[_Key] = TileCache(CACHE_BYTES)

    def close(self) -> None:
        """Close the file and drop the cached tiles."""
        self.forget()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def forget(self) -> None:
        """Drop the cached tiles."""
        self._cache.clear()

    def fit_shrinks(self, number: int) -> dict[int, int]:
        """Return the factors by which a level may be shrunk during decoding: see `slidehook.pixels.shrinking`."""
        return self._proof(number).shrinks

    def read(
        self, level: Level, column: int, row: int, size: tuple[int, int], into: Pixels | None = None
    ) -> Pixels | None:
        """Return a region, given by corner and size in the level's own pixels; it is white outside the slide.

        `into`: see `PixelSource.read`. Returns None if the region can't be read directly: the level is not
        proven, a tile is missing or damaged, or the level is shrunk and a tile lies partly outside the slide.
        """
        stored = self._levels[level.number]
        if stored is None or not self._proof(level.number).is_same:
            return None
        region = np.empty((size[1], size[0], 3), np.uint8) if into is None else into
        columns, rows = stored.columns, stored.rows
        if level.shrink > 1:
            columns, rows = (each // level.shrink for each in stored.in_whole_tiles)
            if column + size[0] > columns or row + size[1] > rows:
                return None
        right, bottom = min(column + size[0], columns), min(row + size[1], rows)
        if column < 0 or row < 0 or (right, bottom) != (column + size[0], row + size[1]):
            region[...] = 255
        x, y = max(0, column), max(0, row)
        if x >= right or y >= bottom:
            return region
        try:
            self._fill(region[y - row : bottom - row, x - column : right - column], stored, level, (x, y))
        except Undecodable:
            return None
        return region

    def _proof(self, number: int) -> Proof:
        with self._lock:
            if number not in self._proofs:
                level = self._levels[number]
                self._proofs[number] = (
                    NOT_PROVEN
                    if level is None
                    else prove(level, number, self._downsamples[number], self._path, self._file)
                )
            return self._proofs[number]

    def _fill(self, region: Pixels, stored: StoredLevel, level: Level, corner: tuple[int, int]) -> None:
        """Fill a region within the slide; `corner` is its upper left pixel in the level. Raises Undecodable."""
        left, top = corner
        right, bottom = left + region.shape[1], top + region.shape[0]
        width, height = (each // level.shrink for each in stored.tile)
        across = range(left // width, -(-right // width))
        # A region that cuts no tile shares none with its neighbours, so caching would not help.
        is_aligned = not (left % width or top % height or right % width or bottom % height)
        scratch = bytearray(3 * width * height) if is_aligned else None
        for row in range(top // height, -(-bottom // height)):
            stored.announce(self._file, across, row)
            for column in across:
                if is_aligned:
                    tile = self._tile(stored, level.shrink, column, row, scratch)
                else:
                    key = (level.number, level.shrink, column, row)
                    tile = self._cache.get(key, partial(self._tile, stored, level.shrink, column, row))
                x, y = column * width, row * height
                x0, y0, x1, y1 = max(x, left), max(y, top), min(x + width, right), min(y + height, bottom)
                region[y0 - top : y1 - top, x0 - left : x1 - left] = tile[y0 - y : y1 - y, x0 - x : x1 - x]

    def _tile(
        self, stored: StoredLevel, shrink: int, column: int, row: int, scratch: bytearray | None = None
    ) -> Pixels:
        content = stored.read(self._file, column, row)
        if not content:
            raise Undecodable("a tile is missing")
        return decode(stored, content, shrink=shrink, scratch=scratch)
