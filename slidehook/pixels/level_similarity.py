"""Compares two levels of a slide's file: whether both show the same content at a few sample points.

The measure is the correlation of small patches at every small shift. Two levels of one slide have a correlation of
0.9 or more, or less if a level was made by subsampling; different parts of the slide hardly correlate.
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
Point = tuple[float, float]
"""Level-0 pixels."""
PATCH_PX, MIN_PATCH_PX = 64, 16
"""The side of a patch, in pixels of the coarser level; a level too small for the second is not compared."""
SHIFT_DIVISOR = 8
"""Patches are shifted by up to their side divided by this, in each direction."""
MAX_FINE_PATCH_PX = 2048
"""The largest side of a patch in the finer level."""
MAX_GUIDE_PX = 2048
"""The longest side of a level that is searched for points with contrast."""
BLOCKS = 12
"""Such a level is divided into this many blocks across and down; each provides at most one point."""
GUIDED_POINTS, ENOUGH_PATCHES = 6, 8
"""How many points are taken from such a level, and how many patches with contrast suffice for a decision."""
GRID = 4
"""How many evenly spaced points across and down are sampled as well."""
VISIBLE_STD, CLEAR_STD = 6.0, 12.0
"""The standard deviation (of 255) above which a patch has contrast, and above which both levels must show it."""
SAME_CORRELATION, OTHER_CORRELATION = 0.7, 0.4
"""The mean correlation that proves two levels equal; one clear patch below the second proves them different."""
SHIFT_TOLERANCE = 0.02
"""How much higher the correlation of the patches may be at another shift."""


@dataclass(frozen=True)
class Level:
    """A level at a scale: level-0 pixels per pixel, and the columns and rows that show the slide.

    `shrink`: the factor by which its tiles are shrunk during decoding; scale and size are those after shrinking.
    """

    number: int
    downsample: float
    columns: int
    rows: int
    shrink: int = 1

    def shrunk(self, by: int) -> Level:
        """Return this level with its tiles shrunk by the factor `by` during decoding."""
        return Level(self.number, self.downsample * by, -(-self.columns // by), -(-self.rows // by), by)


class LevelReader:
    """Reads grey patches of a slide's levels; used in `with`.

    `path`: the slide's file, opened again for this, because an OpenSlide object stops reading once it has
    met a damaged part. Without `path`, `slide` itself is read.
    """

    def __init__(self, slide: OpenSlide, path: Path | None) -> None:
        self._path = path
        self._slide = slide if path is None else OpenSlide(path)
        self.sizes = self._slide.level_dimensions
        self.scales = self._slide.level_downsamples

    def __enter__(self) -> LevelReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._path is not None:
            self._slide.close()

    def read_grey(self, number: int, x: int, y: int, width: int, height: int) -> Grey | None:
        """Return a patch, given in the level's own pixels and white outside the slide; None if it can't be read."""
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


def sample_points(reader: LevelReader) -> list[Point]:
    """Return points of a slide that probably have contrast, best first, in level-0 pixels."""
    width, height = reader.sizes[0]
    spread = [(width * (x + 0.5) / GRID, height * (y + 0.5) / GRID) for y in range(GRID) for x in range(GRID)]
    small = [number for number, size in enumerate(reader.sizes) if number and max(size) <= MAX_GUIDE_PX]
    guides = [number for number in small if min(reader.sizes[number]) >= 4 * BLOCKS]
    if not guides:
        return spread
    found, stated = _highest_contrast(reader, guides[-1]), reader.scales[guides[-1]]
    # The guide level's own scale may be the wrong one, so the scale of a pyramid of halves is tried as well.
    halves = 2.0 ** math.floor(math.log2(stated) + 0.9)
    scales = [stated] if abs(halves / stated - 1) < 0.01 else [halves, stated]
    guided = [(x * scale, y * scale) for x, y in found for scale in scales]
    return [each for each in guided if each[0] < width and each[1] < height] + spread


def _highest_contrast(reader: LevelReader, number: int) -> list[Point]:
    """Return the pixels of a level, in its own coordinates, with the most local contrast: at most one per block."""
    read_grey = reader.read_grey(number, 0, 0, *reader.sizes[number])
    if read_grey is None:
        return []
    change = np.abs(np.diff(read_grey, axis=0))[:, 1:] + np.abs(np.diff(read_grey, axis=1))[1:]
    rows, columns = (side // BLOCKS for side in change.shape)
    blocks = change[: rows * BLOCKS, : columns * BLOCKS].reshape(BLOCKS, rows, BLOCKS, columns).swapaxes(1, 2)
    found = []
    for block in np.argsort(blocks.sum(axis=(2, 3)), axis=None)[::-1][:GUIDED_POINTS]:
        down, across = divmod(int(block), BLOCKS)
        y, x = divmod(int(blocks[down, across].argmax()), columns)
        found.append((float(across * columns + x), float(down * rows + y)))
    return found


def similarity(reader: LevelReader, points: Sequence[Point], finer: Level, level: Level) -> float | None:
    """Return the correlation of a level with a finer one; 0 if their content differs.

    None if no patch can be compared.
    """
    least = min(level.columns, level.rows)
    largest = min(least, MAX_FINE_PATCH_PX * finer.downsample / level.downsample / (1 + 2 / SHIFT_DIVISOR))
    side = PATCH_PX
    while side > largest:
        side //= 2
    if side < MIN_PATCH_PX:
        return None
    found: list[Grey] = []
    for patch, around in _patch_pairs(reader, points, finer, level, side):
        shift = side // SHIFT_DIVISOR
        deviation = max(patch.std(), around[shift:-shift, shift:-shift].std())
        if deviation < VISIBLE_STD:
            continue
        surface = _correlation_surface(patch, around)
        if deviation >= CLEAR_STD and _central_maximum(surface) < OTHER_CORRELATION:
            return 0.0
        found.append(surface)
        if len(found) == ENOUGH_PATCHES:
            break
    if not found:
        return None
    together = np.mean(found, axis=0)
    correlation = _central_maximum(together)
    is_best = correlation >= float(together.max()) - SHIFT_TOLERANCE
    return correlation if correlation >= SAME_CORRELATION and is_best else 0.0


def _patch_pairs(
    reader: LevelReader, points: Sequence[Point], finer: Level, level: Level, side: int
) -> Iterator[tuple[Grey, Grey]]:
    """Yield patches of a level, each with a larger patch of the finer level around it, at the same pixel size."""
    across = level.downsample / finer.downsample
    shift = side // SHIFT_DIVISOR
    reach = side + 2 * shift
    seen = set()
    for point in points:
        x, y = (
            min(max(0, round(each / level.downsample) - side // 2), most - side)
            for each, most in zip(point, (level.columns, level.rows), strict=True)
        )
        if (x, y) in seen:
            continue
        seen.add((x, y))
        patch = reader.read_grey(level.number, x, y, side, side)
        at = (round((x - shift) * across), round((y - shift) * across))
        around = reader.read_grey(finer.number, *at, round(reach * across), round(reach * across))
        if patch is not None and around is not None:
            small = Image.fromarray(around.astype(np.uint8)).resize((reach, reach), Image.Resampling.BOX)
            yield patch, np.asarray(small, np.float64)


def _correlation_surface(patch: Grey, larger: Grey) -> Grey:
    """Correlate a patch with every part of `larger` that has its size: (rows, columns) of shifts, -1…1."""
    side = len(patch)
    parts = sliding_window_view(larger, (side, side))
    own = patch - patch.mean()
    means = parts.mean(axis=(2, 3))
    together = np.einsum("ijkl,kl->ij", parts, own)
    squares = np.einsum("ijkl,ijkl->ij", parts, parts) - side * side * means**2
    spread = np.sqrt(np.maximum(squares, 0) * float((own**2).sum()))
    # A uniform part correlates with nothing.
    found: Grey = np.where(spread > side * side, together / np.maximum(spread, 1), 0.0)
    return found


def _central_maximum(surface: Grey) -> float:
    """Return the highest correlation within one pixel of the zero shift."""
    row, column = surface.shape[0] // 2, surface.shape[1] // 2
    return float(surface[row - 1 : row + 2, column - 1 : column + 2].max())
