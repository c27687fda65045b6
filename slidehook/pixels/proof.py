"""Proves that reading a level of a slide's file directly gives the same pixels as OpenSlide."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from openslide import OpenSlide, OpenSlideError

from slidehook.pixels.resampling import WHOLE
from slidehook.pixels.shrinking import fit_shrinks
from slidehook.pixels.source import Pixels
from slidehook.pixels.stored_level import StoredLevel
from slidehook.pixels.tile_codecs import Undecodable, decode

RIM_PX = 2
"""The width of the rim in which OpenSlide blends a tile with its neighbours, if it draws it between two pixels."""
INTERPOLATION_ERROR = 3
"""The largest allowed difference between OpenSlide's interpolation and ours, of 255."""
Place = tuple[int, int]


@dataclass(frozen=True)
class Proof:
    """The outcome of the check of one level.

    `is_same`: direct reading gives OpenSlide's pixels. `shrinks`: see `fit_shrinks`.
    """

    is_same: bool
    shrinks: dict[int, int] = field(default_factory=dict)


NOT_PROVEN = Proof(is_same=False)


def prove(level: StoredLevel, number: int, downsample: float, path: Path, file: int) -> Proof:
    """Compare some tiles of level `number`, read from the open `file` (descriptor), with OpenSlide's pixels.

    `downsample`: the level's scale as OpenSlide states it. `path` is opened again for this, because an OpenSlide
    object stops reading once it has met a damaged part.
    """
    try:
        with OpenSlide(path) as slide:
            for place in sample_places(level):
                content = level.read(file, *place)
                if not content:
                    continue
                patch = _Patch.of(level, place, downsample)
                seen = slide.read_region(patch.at, number, patch.size)
                if not patch.shows_the_same(np.asarray(seen), decode(level, content)):
                    return NOT_PROVEN
        return Proof(is_same=True, shrinks=fit_shrinks(level, file))
    except (Undecodable, OpenSlideError, OSError):
        return NOT_PROVEN


def sample_places(level: StoredLevel) -> list[Place]:
    """Return the tiles to compare, as (column, row): corners, edges, the middle, and the one with the most detail."""
    right, bottom = level.across - 1, level.down - 1
    corners = [(0, 0), (right, 0), (0, bottom), (right, bottom)]
    between = [(right // 2, bottom // 2), (right, bottom // 2), (right // 2, bottom)]
    row, column = divmod(int(np.argmax(level.counts)), level.across)
    return list(dict.fromkeys([(column, row), *corners, *between]))


@dataclass(frozen=True)
class _Patch:
    """The region to read from OpenSlide to check one tile: `at` in level-0 pixels, `size` in pixels of the level.

    The tile is compared without its `rim`. If the level's scale is not an integer, `at` may lie between two pixels of
    the level: `off` = (x, y) is its distance from the compared part's corner, in pixels of the level.
    """

    at: Place
    size: tuple[int, int]
    off: tuple[float, float]
    rim: int

    @classmethod
    def of(cls, level: StoredLevel, place: Place, downsample: float) -> _Patch:
        x, y = (number * side for number, side in zip(place, level.tile, strict=True))
        size = (min(level.tile[0], level.columns - x), min(level.tile[1], level.rows - y))
        at = _level_0(x, downsample), _level_0(y, downsample)
        off = (at[0] / downsample - x, at[1] / downsample - y)
        if max(abs(each) for each in off) < WHOLE or min(size) <= 2 * RIM_PX:
            return cls(at, size, off, 0)
        # OpenSlide blends the neighbours' pixels into the rim.
        x, y = x + RIM_PX, y + RIM_PX
        at = _level_0(x, downsample), _level_0(y, downsample)
        off = (at[0] / downsample - x, at[1] / downsample - y)
        return cls(at, (size[0] - 2 * RIM_PX, size[1] - 2 * RIM_PX), off, RIM_PX)

    def shows_the_same(self, seen: NDArray[np.uint8], tile: Pixels) -> bool:
        """Compare `tile` with the RGBA pixels that OpenSlide returned."""
        width, height = self.size
        if not (seen[..., 3] == 255).all():
            return False
        if not self.rim:
            return np.array_equal(seen[..., :3], tile[:height, :width])
        own = _moved(tile, self.off)[self.rim : self.rim + height, self.rim : self.rim + width]
        return bool(np.abs(seen[..., :3] - own).max() <= INTERPOLATION_ERROR)


def _level_0(place: int, downsample: float) -> int:
    return round(place * downsample)


def _moved(pixels: Pixels, off: tuple[float, float]) -> NDArray[np.float64]:
    """Return the pixels shifted by `off` = (x, y), at most one pixel each way, with linear interpolation."""
    moved = pixels.astype(np.float64)
    for axis, distance in ((1, off[0]), (0, off[1])):
        neighbour = np.roll(moved, -1 if distance > 0 else 1, axis)
        moved = moved * (1 - abs(distance)) + neighbour * abs(distance)
    return moved
