"""Compares two levels of a slide's file at a few places: whether both show the same there, and nowhere beside it.

The measure is the correlation of small patches at every small shift. Two levels of one slide
correlate with 0.9 and more, less where a level was made by leaving pixels out; another part of the slide hardly does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from openslide import OpenSlide, OpenSlideError
from PIL import Image

Grey = NDArray[np.float64]
"""Shape (rows, columns), 0…255."""
Place = tuple[float, float]
"""Level-0 pixels."""
PATCH_PX, LEAST_PATCH_PX = 64, 16
"""The side of the patches, in pixels of the coarser level; what has not even the second can't be compared."""
SHIFT_PART = 8
"""Patches are shifted by up to this part of their side, to each side."""
REACH_PX = 2048
"""The largest side of a patch in the finer level."""
GUIDE_PX = 2048
"""A level at most so large tells where there is something to compare."""
BLOCKS = 12
"""Into so many parts, across and down, such a level is divided to find the places."""
GUIDED, ENOUGH = 6, 8
"""How many places such a level gives, and how many with something to see are enough."""
GRID = 4
"""So many places across and down are looked at besides."""
VISIBLE, CLEAR = 6.0, 12.0
"""The deviation, of 255, from which on a patch shows something, and from which on both levels must show it."""
LIKE, UNLIKE = 0.7, 0.4
"""The correlation from which on all patches together are the same, and below which one that is clear is another."""
BETTER = 0.02
"""By how much the patches may correlate better where they were shifted to."""


@dataclass(frozen=True)
class Level:
    """A level at a scale: level-0 pixels per pixel, and how many of its columns and rows show the slide."""

    number: int
    shrink: float
    columns: int
    rows: int


class Looking:
    """Reads patches of a slide's levels in grey, to look at them; used in `with`.

    `path`: the slide's file, which is opened for that: OpenSlide reads nothing more of what was opened once it has
    met a damaged part. Without it, `slide` itself is read.
    """

    def __init__(self, slide: OpenSlide, path: Path | None) -> None:
        self._path = path
        self._slide = slide if path is None else OpenSlide(path)
        self.sizes = self._slide.level_dimensions
        self.scales = self._slide.level_downsamples

    def __enter__(self) -> Looking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._path is not None:
            self._slide.close()

    def grey(self, number: int, x: int, y: int, width: int, height: int) -> Grey | None:
        """Give a patch by its place and size in the level's own pixels, white beyond; None where it can't be read."""
        at = (round(x * self.scales[number]), round(y * self.scales[number]))
        try:
            picture = self._slide.read_region(at, number, (width, height))
        except OpenSlideError:
            if self._path is not None:
                self._slide.close()
                self._slide = OpenSlide(self._path)
            return None
        ground = Image.new("RGBA", picture.size, "white")
        ground.alpha_composite(picture)
        return np.asarray(ground.convert("L"), np.float64)


def places_to_compare(looking: Looking) -> list[Place]:
    """Give places of a slide that may show something, the likeliest first."""
    width, height = looking.sizes[0]
    spread = [(width * (x + 0.5) / GRID, height * (y + 0.5) / GRID) for y in range(GRID) for x in range(GRID)]
    small = [number for number, size in enumerate(looking.sizes) if number and max(size) <= GUIDE_PX]
    guides = [number for number in small if min(looking.sizes[number]) >= 4 * BLOCKS]
    if not guides:
        return spread
    found, stated = _busiest(looking, guides[-1]), looking.scales[guides[-1]]
    # The guide's own scale may be what is wrong, so that of a pyramid of halves is tried as well.
    halves = 2.0 ** math.floor(math.log2(stated) + 0.9)
    scales = [stated] if abs(halves / stated - 1) < 0.01 else [halves, stated]
    guided = [(x * scale, y * scale) for x, y in found for scale in scales]
    return [each for each in guided if each[0] < width and each[1] < height] + spread


def _busiest(looking: Looking, number: int) -> list[Place]:
    """Give the places of a level, in its own pixels, round which its pixels differ most; no two in one block."""
    grey = looking.grey(number, 0, 0, *looking.sizes[number])
    if grey is None:
        return []
    change = np.abs(np.diff(grey, axis=0))[:, 1:] + np.abs(np.diff(grey, axis=1))[1:]
    rows, columns = (side // BLOCKS for side in change.shape)
    blocks = change[: rows * BLOCKS, : columns * BLOCKS].reshape(BLOCKS, rows, BLOCKS, columns).swapaxes(1, 2)
    found = []
    for block in np.argsort(blocks.sum(axis=(2, 3)), axis=None)[::-1][:GUIDED]:
        down, across = divmod(int(block), BLOCKS)
        y, x = divmod(int(blocks[down, across].argmax()), columns)
        found.append((float(across * columns + x), float(down * rows + y)))
    return found


def likeness(looking: Looking, places: Sequence[Place], finer: Level, level: Level) -> float | None:
    """Say how like a level is to a finer one: their correlation, 0 when they do not show the same.

    None where there is nothing that can be compared.
    """
    least = min(level.columns, level.rows)
    largest = min(least, REACH_PX * finer.shrink / level.shrink / (1 + 2 / SHIFT_PART))
    side = PATCH_PX
    while side > largest:
        side //= 2
    if side < LEAST_PATCH_PX:
        return None
    found: list[Grey] = []
    for patch, around in _patches(looking, places, finer, level, side):
        shift = side // SHIFT_PART
        deviation = max(patch.std(), around[shift:-shift, shift:-shift].std())
        if deviation < VISIBLE:
            continue
        surface = _correlation(patch, around)
        if deviation >= CLEAR and _middle(surface) < UNLIKE:
            return 0.0
        found.append(surface)
        if len(found) == ENOUGH:
            break
    if not found:
        return None
    together = np.mean(found, axis=0)
    like = _middle(together)
    return like if like >= LIKE and like >= float(together.max()) - BETTER else 0.0


def _patches(
    looking: Looking, places: Sequence[Place], finer: Level, level: Level, side: int
) -> Iterator[tuple[Grey, Grey]]:
    """Give patches of a level, and what a finer one shows there and a little around, in pixels of the same size."""
    across = level.shrink / finer.shrink
    shift = side // SHIFT_PART
    reach = side + 2 * shift
    seen = set()
    for place in places:
        x, y = (
            min(max(0, round(each / level.shrink) - side // 2), most - side)
            for each, most in zip(place, (level.columns, level.rows), strict=True)
        )
        if (x, y) in seen:
            continue
        seen.add((x, y))
        patch = looking.grey(level.number, x, y, side, side)
        at = (round((x - shift) * across), round((y - shift) * across))
        around = looking.grey(finer.number, *at, round(reach * across), round(reach * across))
        if patch is not None and around is not None:
            small = Image.fromarray(around.astype(np.uint8)).resize((reach, reach), Image.Resampling.BOX)
            yield patch, np.asarray(small, np.float64)


def _correlation(patch: Grey, larger: Grey) -> Grey:
    """Correlate a patch with each part of its size of a larger one: (rows, columns) of shifts, -1…1."""
    side = len(patch)
    parts = sliding_window_view(larger, (side, side))
    own = patch - patch.mean()
    means = parts.mean(axis=(2, 3))
    together = np.einsum("ijkl,kl->ij", parts, own)
    squares = np.einsum("ijkl,ijkl->ij", parts, parts) - side * side * means**2
    spread = np.sqrt(np.maximum(squares, 0) * float((own**2).sum()))
    # What has one colour throughout is like nothing.
    found: Grey = np.where(spread > side * side, together / np.maximum(spread, 1), 0.0)
    return found


def _middle(surface: Grey) -> float:
    """Give the best correlation within a pixel of no shift at all."""
    row, column = surface.shape[0] // 2, surface.shape[1] // 2
    return float(surface[row - 1 : row + 2, column - 1 : column + 2].max())
