"""Counts the nuclei in regions tile by tile: each nucleus once, in memory that does not grow with the regions."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray

from apps.ihc.checks import Examined, Sums, complaint
from apps.ihc.nuclei import find_nuclei, measure_nuclei
from apps.ihc.params import IhcParams
from slidehook.pixels.tiles import Mask, Tile
from slidehook.regions import Region
from slidehook.stains import Colour, Deconvolution, Density, Stained

Floats = NDArray[np.float64]
DECIMALS = 3
"""A density is rounded before it is compared, so that what the gallery shows of it tells the same."""


@dataclass(frozen=True)
class Found:
    """What one tile gave.

    Of each nucleus its place in level-0 pixels, the density of its DAB, whether the picture is sharp there, and in
    which regions it lies, bool (nuclei, regions). `sums`: of all regions together first, then of each.
    """

    x: Floats
    y: Floats
    density: Floats
    sharp: NDArray[np.bool_]
    regions: NDArray[np.bool_]
    sums: tuple[Sums, ...]


class Looker:
    """Looks at tiles, several at a time if need be: holds nothing of what it has seen."""

    def __init__(self, regions: Sequence[Region], params: IhcParams, white: Colour) -> None:
        self._regions = regions
        self._params = params
        self._white = white
        self._deconvolution = Deconvolution(params.haematoxylin, params.dab, white=white)

    def __call__(self, tile: Tile) -> Found:
        """Find a tile's nuclei; those whose middle lies in its margin are its neighbours'."""
        params = self._params
        stained = self._deconvolution(tile.pixels)
        labels = find_nuclei(
            self._nuclear(stained),
            mpp=params.mpp,
            contrast=params.nucleus_contrast,
            smallest_um2=params.smallest_um2,
            largest_um2=params.largest_um2,
        )
        ring_px = params.ring_um / params.mpp if params.compartment == "cell" else None
        nuclei = measure_nuclei(labels, stained.second, ring_px=ring_px)
        column, row = nuclei.column - tile.margin, nuclei.row - tile.margin
        size = tile.pixels.shape[0] - 2 * tile.margin
        own = (column >= 0) & (column < size) & (row >= 0) & (row < size)
        x, y = tile.x + column * tile.scale, tile.y + row * tile.scale
        member = np.stack([shapely.contains_xy(each.polygon, x, y) for each in self._regions], axis=1)
        own &= member.any(axis=1)
        examined = Examined(tile.pixels, stained, white=self._white, params=params)
        sharp = examined.sharp[nuclei.row.astype(int), nuclei.column.astype(int)]
        sums = tuple(Sums() if mask is None else examined.sums(mask) for mask in self._masks(tile, size))
        density = np.round(nuclei.density, DECIMALS)
        return Found(x[own], y[own], density[own], sharp[own], member[own], sums)

    def _nuclear(self, stained: Stained) -> Density:
        """Give what nuclei have more of. DAB round a nucleus would hide it, DAB in it belongs to it."""
        if self._params.compartment == "cell":
            return stained.first
        return np.maximum(stained.first, 0) + np.maximum(stained.second, 0)

    def _masks(self, tile: Tile, size: int) -> list[Mask | None]:
        """Mark the tile's own pixels, `size` x `size`, in any region, then in each; None where there are none."""
        core = np.zeros(tile.pixels.shape[:2], np.bool_)
        own = slice(tile.margin, tile.margin + size)
        core[own, own] = True
        side = size * tile.scale
        box = shapely.box(tile.x, tile.y, tile.x + side, tile.y + side)
        touched = shapely.intersects([each.polygon for each in self._regions], box)
        masks = [
            tile.inside(each.polygon) & core if there else None
            for each, there in zip(self._regions, touched, strict=True)
        ]
        together = [mask for mask in masks if mask is not None]
        return [np.logical_or.reduce(together) if together else None, *masks]


@dataclass
class Count:
    """Nuclei counted in one region, or in all. `unsharp`: those that lie where the picture is not sharp."""

    positive: int = 0
    negative: int = 0
    unsharp: int = 0
    sums: Sums = field(default_factory=Sums)

    @property
    def nuclei(self) -> int:
        """All of them."""
        return self.positive + self.negative

    @property
    def complaint(self) -> str:
        """Why none of this may be told; empty when it may."""
        return complaint(self.sums, self.nuclei, self.unsharp)


class Tally:
    """Adds up what the tiles gave."""

    def __init__(self, regions: int, params: IhcParams) -> None:
        self.all = Count()
        self.each = [Count() for _ in range(regions)]
        self._from = params.positive_from
        self.positive, self.negative = Lot(params.most_patches), Lot(params.most_patches)
        """Some of the nuclei of either kind."""

    def add(self, found: Found) -> None:
        """Add what a tile gave; the tiles must come in the same order for the same lots to be drawn."""
        positive = found.density >= self._from
        for count, member, sums in zip(
            [self.all, *self.each], [np.ones(len(positive), np.bool_), *found.regions.T], found.sums, strict=True
        ):
            count.positive += int(np.count_nonzero(positive & member))
            count.negative += int(np.count_nonzero(~positive & member))
            count.unsharp += int(np.count_nonzero(~found.sharp & member))
            count.sums += sums
        nuclei = np.stack([found.x, found.y, found.density], axis=1)
        self.positive.add(nuclei[positive])
        self.negative.add(nuclei[~positive])


class Lot:
    """Keeps at most `most` of all rows that it is given, each with the same chance."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._random = np.random.default_rng(0)  # the same slide gives the same gallery
        self._kept = np.empty((0, 4))

    def add(self, rows: Floats) -> None:
        """Take part in the draw: (rows, 3)."""
        drawn = np.column_stack([rows, self._random.random(len(rows))])
        kept = np.concatenate([self._kept, drawn])
        if len(kept) > self._most:
            kept = kept[np.argpartition(kept[:, 3], self._most - 1)[: self._most]]
        self._kept = kept

    @property
    def rows(self) -> Floats:
        """What was drawn: (rows, 3)."""
        return self._kept[:, :3]


def look_at_all(look: Looker, tiles: Iterable[Tile]) -> Iterator[Found]:
    """Look at tiles on every core, in order, with as many in memory as there are cores."""
    cores = len(os.sched_getaffinity(0))
    under_way: deque[Future[Found]] = deque()
    pool = ThreadPoolExecutor(cores, thread_name_prefix="ihc")
    try:
        for tile in tiles:
            under_way.append(pool.submit(look, tile))
            if len(under_way) >= cores:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
