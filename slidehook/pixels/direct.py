"""Reads regions of a slide's file without OpenSlide, from the levels whose pixels were proven to be the same."""

from __future__ import annotations

import contextlib
import os
import threading
from functools import partial
from pathlib import Path

import numpy as np

from slidehook.pixels.proof import is_proven
from slidehook.pixels.source import Pixels
from slidehook.pixels.stored_level import StoredLevel, stored_levels
from slidehook.pixels.tiff_file import NotTiff
from slidehook.pixels.tile_cache import TileCache
from slidehook.pixels.tile_codecs import Undecodable, decode

CACHE_BYTES = 96 * 1024 * 1024
"""The size of the cache of decoded tiles: a row of the largest slides, so that each tile is decoded once."""
_Key = tuple[int, int, int]


class DirectReader:
    """The levels of one file that can be read directly, each proven when it is first read. Thread-safe."""

    def __init__(self, path: Path, sizes: tuple[tuple[int, int], ...], downsamples: tuple[float, ...]) -> None:
        """`sizes`, `downsamples`: of each level, as OpenSlide states them."""
        self._path = path
        self._downsamples = downsamples
        self._levels: list[StoredLevel | None] = [None] * len(sizes)
        self._file = -1
        with contextlib.suppress(OSError, NotTiff):  # what then is left to OpenSlide, which holds its own open file
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._levels = stored_levels(self._file, sizes)
        self._proven: dict[int, bool] = {}
        self._lock = threading.Lock()
        self._cache: TileCache[_Key] = TileCache(CACHE_BYTES)

    def close(self) -> None:
        """Close the file, and drop what was read."""
        self._cache.clear()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def read(self, number: int, column: int, row: int, size: tuple[int, int]) -> Pixels | None:
        """Return a region of a level by its corner and size in the level's own pixels, white outside.

        None if OpenSlide must read it: the level is not proven, or one of its tiles is missing or damaged.
        """
        level = self._proven_level(number)
        if level is None:
            return None
        try:
            return self._assembled(number, level, column, row, size)
        except Undecodable:
            return None

    def _proven_level(self, number: int) -> StoredLevel | None:
        level = self._levels[number]
        if level is None:
            return None
        with self._lock:
            if number not in self._proven:
                self._proven[number] = is_proven(level, number, self._downsamples[number], self._path, self._file)
        return level if self._proven[number] else None

    def _assembled(self, number: int, level: StoredLevel, left: int, top: int, size: tuple[int, int]) -> Pixels:
        tile_width, tile_height = level.tile
        right, bottom = min(left + size[0], level.columns), min(top + size[1], level.rows)
        is_inside = left >= 0 and top >= 0 and (right, bottom) == (left + size[0], top + size[1])
        shape = (size[1], size[0], 3)
        region = np.empty(shape, np.uint8) if is_inside else np.full(shape, 255, np.uint8)
        if right <= max(0, left) or bottom <= max(0, top):
            return region
        for row in range(max(0, top) // tile_height, -(-bottom // tile_height)):
            for column in range(max(0, left) // tile_width, -(-right // tile_width)):
                tile = self._cache.get((number, column, row), partial(self._tile, level, column, row))
                x, y = column * tile_width, row * tile_height
                x0, y0 = max(x, left, 0), max(y, top, 0)
                x1, y1 = min(x + tile_width, right), min(y + tile_height, bottom)
                region[y0 - top : y1 - top, x0 - left : x1 - left] = tile[y0 - y : y1 - y, x0 - x : x1 - x]
        return region

    def _tile(self, level: StoredLevel, column: int, row: int) -> Pixels:
        content = level.read(self._file, column, row)
        if not content:
            raise Undecodable("a tile is missing")
        return decode(level, content)
