"""Resizes RGB pixels: the area average when shrinking, interpolation when enlarging."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Protocol

import numpy as np
import scipy
from PIL import Image

from slidehook.pixels.source import Box, Pixels

WHOLE = 1e-6
"""The distance from an integer below which a position or a ratio counts as an integer."""
ROUNDED = 100
"""A side of at least this many pixels may differ from the requested one by a pixel."""


def differ_by_rounding(inside: tuple[int, int], wanted: tuple[int, int]) -> bool:
    """Whether two sizes differ by at most a pixel, too little to be worth resizing.

    A small region must match exactly: a pixel would change its resolution noticeably.
    """
    return all(abs(one - other) <= min(1, other / ROUNDED) for one, other in zip(inside, wanted, strict=True))


def resized(pixels: Pixels, columns: int, rows: int) -> Pixels:
    """Resize RGB pixels: averaged when shrinking, interpolated when enlarging."""
    return resampled(pixels, Box(0, 0, pixels.shape[1], pixels.shape[0]), columns, rows)


class LevelRead(Protocol):
    """Reads a region of a level, given by corner and size in the level's own pixels, into `into` if that is given."""

    def __call__(self, column: int, row: int, size: tuple[int, int], into: Pixels | None = None, /) -> Pixels:
        """Return the region."""


def read_resampled(read: LevelRead, region: Box, columns: int, rows: int, into: Pixels | None = None) -> Pixels:
    """Return a region of a level (in the level's own pixels) as `columns` x `rows` pixels.

    `read` reads the required part of the level. If no resizing is needed, the level's own pixels are returned,
    starting at the nearest one. `into`: see `PixelSource.read`.
    """
    if differ_by_rounding((max(1, round(region.width)), max(1, round(region.height))), (columns, rows)):
        return read(round(region.x), round(region.y), (columns, rows), into)
    column, row = math.floor(region.x + WHOLE), math.floor(region.y + WHOLE)
    right, bottom = math.ceil(region.x + region.width - WHOLE), math.ceil(region.y + region.height - WHOLE)
    width, height = max(1, right - column), max(1, bottom - row)
    x, y = max(0.0, region.x - column), max(0.0, region.y - row)
    part = Box(x, y, min(region.width, width - x), min(region.height, height - y))
    return copied(resampled(read(column, row, (width, height)), part, columns, rows), into)


def copied(pixels: Pixels, into: Pixels | None) -> Pixels:
    """Return `pixels`, or `into` filled with them."""
    if into is None or into is pixels:
        return pixels
    into[...] = pixels
    return into


def resampled(pixels: Pixels, part: Box, columns: int, rows: int) -> Pixels:
    """Return `part` of `pixels`, in their own coordinates, as `columns` x `rows` pixels.

    When shrinking, each new pixel is the mean of the area that it covers; pixels at its edge are weighted.
    """
    if part == Box(0, 0, columns, rows):
        return pixels if pixels.shape[:2] == (rows, columns) else pixels[:rows, :columns]
    if part.width < columns or part.height < rows:
        corners = (part.x, part.y, part.x + part.width, part.y + part.height)
        return np.asarray(Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BILINEAR, box=corners))
    ratios = (part.width / columns, part.height / rows)
    if all(abs(each - round(each)) < WHOLE for each in (*ratios, part.x, part.y)):
        left, top = round(part.x), round(part.y)
        across, down = round(ratios[0]), round(ratios[1])
        corners = (left, top, left + across * columns, top + down * rows)
        return np.asarray(Image.fromarray(pixels).reduce((across, down), box=corners))
    return _area_average(pixels, part, columns, rows)


def _area_average(pixels: Pixels, part: Box, columns: int, rows: int) -> Pixels:
    height, width = pixels.shape[:2]
    down = _weights(height, part.y, part.height, rows) @ pixels.reshape(height, -1).astype(np.float32)
    turned = down.reshape(rows, width, 3).transpose(1, 0, 2).reshape(width, -1)
    both = _weights(width, part.x, part.width, columns) @ turned + np.float32(0.5)
    return np.ascontiguousarray(both.astype(np.uint8).reshape(columns, rows, 3).transpose(1, 0, 2))


@lru_cache(maxsize=64)
def _weights(pixels: int, start: float, length: float, count: int) -> scipy.sparse.csr_matrix:
    """Return the share of each of `pixels` in each of `count` equal parts of a line: (count, pixels), float32."""
    edges = start + np.arange(count + 1) * (length / count)
    first, last = np.floor(edges[:-1]), edges[1:]
    parts, places, shares = [], [], []
    for step in range(math.ceil(length / count) + 1):
        place = first + step
        share = np.minimum(last, place + 1) - np.maximum(edges[:-1], place)
        covered = np.nonzero(share > WHOLE)[0]
        parts.append(covered)
        places.append(place[covered].clip(0, pixels - 1))
        shares.append(share[covered])
    values = np.concatenate(shares) * (count / length)
    # The shares in each part sum to 1, so that white stays white.
    rows = np.concatenate(parts)
    values /= np.bincount(rows, values, count)[rows]
    return scipy.sparse.csr_matrix((values.astype(np.float32), (rows, np.concatenate(places))), shape=(count, pixels))
