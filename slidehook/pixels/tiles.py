"""Iterates over a slide tile by tile, reading ahead with several threads."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Polygon

from slidehook.geometry import Frame, PixelPoint
from slidehook.pixels.ordered_map import ordered_map
from slidehook.pixels.source import Box, Pixels, PixelSource

Mask = NDArray[np.bool_]
"""Shape (rows, columns)."""
Place = tuple[float, float]
"""A level-0 pixel (x, y)."""
AHEAD = 2
"""The number of tiles per thread that are read ahead."""

_A = TypeVar("_A")
_B = TypeVar("_B")


@dataclass(frozen=True)
class Tile:
    """One tile: `pixels` (uint8 RGB, white outside the slide) and its position.

    `x`, `y`: the level-0 pixel of its upper left corner, without the margin; `scale`: level-0 pixels per pixel of the
    tile. `margin`: the number of pixels by which `pixels` extends beyond each side.
    """

    x: float
    y: float
    scale: float
    margin: int
    pixels: Pixels

    def to_pixel(self, column: float, row: float) -> PixelPoint:
        """Return the level-0 pixel of a position in `pixels`."""
        return PixelPoint(self.x + (column - self.margin) * self.scale, self.y + (row - self.margin) * self.scale)

    def inside(self, polygon: Polygon) -> Mask:
        """Mark the pixels whose centre is inside `polygon` (level-0 pixels): bool, of the shape of `pixels`.

        Each pixel belongs to exactly one of two polygons that share an edge.
        """
        rows, columns = self.pixels.shape[:2]
        crossings = np.zeros((rows, columns + 1), np.bool_)
        for ring in (polygon.exterior, *polygon.interiors):
            corners = (np.asarray(ring.coords) - (self.x, self.y)) / self.scale + self.margin - 0.5
            row, column = _crossed(corners, rows)
            np.logical_xor.at(crossings, (row, np.clip(np.ceil(column), 0, columns).astype(int)), True)
        # A pixel is inside if the number of edges to its left, or through it, is odd.
        return np.logical_xor.accumulate(crossings, axis=1)[:, :-1]


@dataclass(frozen=True)
class TilePlan:
    """The tiles of a grid to read: (x, y) of each, row by row, and the number of skipped ones."""

    places: tuple[tuple[float, float], ...]
    left_out: int


def _crossed(corners: NDArray[np.float64], rows: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the row and x of each point where a closed ring with `corners` (x, y) crosses a row below `rows`."""
    (x0, y0), (x1, y1) = corners[:-1].T, corners[1:].T
    first = np.ceil(np.clip(np.minimum(y0, y1), 0, rows)).astype(int)
    number = np.ceil(np.clip(np.maximum(y0, y1), 0, rows)).astype(int) - first
    side = np.repeat(np.arange(len(number)), number)
    row = first[side] + np.arange(len(side)) - np.repeat(np.cumsum(number) - number, number)
    return row, x0[side] + (row - y0[side]) * (x1 - x0)[side] / (y1 - y0)[side]


def plan_tiles(
    frame: Frame,
    side: float,
    *,
    area: Box | None = None,
    within: Sequence[Polygon] = (),
    where: Mask | None = None,
    least: float = 0.0,
) -> TilePlan:
    """Lay a grid of tiles with `side` level-0 pixels over `area` (default: the slide).

    `within`: tiles that touch none of these polygons (level-0 pixels) are not part of the grid.
    `where`: mask of wanted pixels, bool (rows, columns), covering the whole slide. A tile is wanted if any of its
    pixels is, and at least the fraction `least` (0…1). Raises ValueError for another dtype or shape.
    """
    if not side > 0:
        raise ValueError(f"a tile's side must be above 0, not {side}")
    if where is not None and (where.dtype != np.bool_ or where.ndim != 2 or 0 in where.shape):
        raise ValueError(f"`where` must be a mask of bool (rows, columns), not {where.dtype} {where.shape}")
    area = area or Box(0, 0, frame.width, frame.height)
    columns, rows = math.ceil(area.width / side - 1e-9), math.ceil(area.height / side - 1e-9)
    places = [(area.x + column * side, area.y + row * side) for row in range(rows) for column in range(columns)]
    if within:
        corners = np.array(places)
        boxes = shapely.box(*corners.T, *(corners + side).T)
        touched = np.any([shapely.intersects(each, boxes) for each in within], axis=0)
        places = [place for place, wanted in zip(places, touched, strict=True) if wanted]
    if where is None:
        return TilePlan(tuple(places), 0)
    sums = np.zeros((where.shape[0] + 1, where.shape[1] + 1), np.int64)
    sums[1:, 1:] = where.cumsum(0, dtype=np.int64).cumsum(1)
    wanted = [place for place in places if _is_wanted(sums, frame, place, side, least)]
    return TilePlan(tuple(wanted), len(places) - len(wanted))


def _is_wanted(sums: NDArray[np.int64], frame: Frame, place: tuple[float, float], side: float, least: float) -> bool:
    """Whether enough of a tile is marked; `sums[r, c]` counts the marks above row `r` and left of column `c`."""
    rows, columns = sums.shape[0] - 1, sums.shape[1] - 1
    left, right = (_clipped(each * columns / frame.width, columns) for each in (place[0], place[0] + side))
    top, bottom = (_clipped(each * rows / frame.height, rows) for each in (place[1], place[1] + side))
    x0, x1, y0, y1 = math.floor(left), math.ceil(right), math.floor(top), math.ceil(bottom)
    if x1 <= x0 or y1 <= y0:
        return False
    marked = int(sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0])
    return marked > 0 and marked >= least * (x1 - x0) * (y1 - y0)


def _clipped(value: float, most: int) -> float:
    # Rounded, so that arithmetic errors do not make a tile overlap the next pixel of the mask.
    return round(min(max(value, 0.0), float(most)), 6)


class TileBatch(NamedTuple):
    """Several tiles in one array: `pixels`, uint8 RGB (tiles, rows, columns, 3), contiguous.

    `places`: the level-0 pixel (x, y) of each tile's upper left corner, without the margin; float64 (tiles, 2).
    """

    pixels: NDArray[np.uint8]
    places: NDArray[np.float64]


@dataclass(frozen=True)
class TileReading:
    """How planned tiles are read: each of `size` x `size` pixels at `scale` level-0 pixels per pixel.

    `margin`: see `Tile`. `exact`: see `PixelSource`. `readers`: the number of threads; OpenSlide, the decoders and
    the network release Python's lock. Default: one per available core.
    """

    source: PixelSource
    plan: TilePlan
    size: int
    scale: float
    margin: int = 0
    exact: bool = False
    readers: int | None = None

    def tiles(self) -> Iterator[Tile]:
        """Read the tiles one by one, in order, with `AHEAD` per thread in memory. Raises as the source does."""

        def read(place: Place) -> Tile:
            return Tile(*place, self.scale, self.margin, self._read(place))

        yield from self._in_threads(read, self.plan.places, ahead=AHEAD * self._threads)

    def batches(self, count: int) -> Iterator[TileBatch]:
        """Read `count` tiles at a time, the last time perhaps fewer, each directly into its place in the array.

        While the caller works on one batch, the next is read: two are in memory, besides those that the caller keeps.
        Raises as the source does.
        """

        def slots() -> Iterator[tuple[TileBatch, int]]:
            places = self.plan.places
            for start in range(0, len(places), count):
                some = np.array(places[start : start + count])
                batch = TileBatch(np.empty((len(some), self._side, self._side, 3), np.uint8), some)
                yield from ((batch, number) for number in range(len(some)))

        def fill(slot: tuple[TileBatch, int]) -> tuple[TileBatch, int]:
            batch, number = slot
            x, y = batch.places[number]
            self._read((float(x), float(y)), into=batch.pixels[number])
            return slot

        for batch, number in self._in_threads(fill, slots(), ahead=count):
            if number == len(batch.pixels) - 1:
                yield batch

    @property
    def _side(self) -> int:
        return self.size + 2 * self.margin

    @property
    def _threads(self) -> int:
        return self.readers or len(os.sched_getaffinity(0))

    def _read(self, place: Place, into: Pixels | None = None) -> Pixels:
        reach = self.margin * self.scale
        box = Box(place[0] - reach, place[1] - reach, self._side * self.scale, self._side * self.scale)
        return self.source.read(box, self._side, self._side, exact=self.exact, into=into)

    def _in_threads(self, work: Callable[[_A], _B], items: Iterable[_A], *, ahead: int) -> Iterator[_B]:
        if self._threads == 1:
            return map(work, items)
        return ordered_map(work, items, threads=self._threads, max_pending=max(ahead, self._threads), name="tiles")
