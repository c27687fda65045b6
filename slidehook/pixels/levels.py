"""Finds the usable levels of a slide's file and their true scale, by checking the file's metadata against its pixels.

A level that was padded to whole tiles (as in files of CAMELYON and ASAP) is larger than the slide at that level, so
the ratio of the sizes is not its scale, and the ratios of the two axes may differ. Level 0 defines the coordinates.
Every other level is compared with the next finer usable one, at a few points with contrast.
"""

from __future__ import annotations

import math
import threading
from pathlib import Path

from openslide import OpenSlide

from slidehook.pixels.level_similarity import Level, LevelReader, Point, sample_points, similarity

ROUNDING_PX = 1
"""The most pixels by which rounding may change a level's side."""
MAX_PADDING = 4.0
"""The largest factor by which padding may change the ratio of the sizes."""
LEVEL_0_PADDING = 1.05
"""The factor by which padding of level 0 may increase a ratio."""
DISTINCT_FACTOR = 1.003
"""Scales that differ by less than this factor count as one."""


class PyramidLevels:
    """The levels of one file, each checked when it is first needed. Thread-safe.

    `path`: the slide's file, opened again for the check, because an OpenSlide object stops reading once it has
    met a damaged part. Without `path`, `slide` itself is read.
    """

    def __init__(self, slide: OpenSlide, path: Path | None = None) -> None:
        self._slide = slide
        self._path = path
        self._sizes = slide.level_dimensions
        self._stated = slide.level_downsamples
        width, height = self._sizes[0]
        self._usable = [Level(0, 1.0, width, height)]
        self._checked = 1
        self._points: list[Point] = []
        self._lock = threading.Lock()

    def best(self, wanted: float) -> Level:
        """Return the coarsest usable level with at most `wanted` level-0 pixels per pixel, otherwise level 0."""
        with self._lock:
            if (stop := self._levels_to_check(wanted)) > self._checked:
                self._check(stop)
            fine_enough = [each for each in self._usable if each.downsample <= wanted]
            return max(fine_enough or self._usable[:1], key=lambda each: each.downsample)

    def _levels_to_check(self, wanted: float) -> int:
        """Return the number of levels to check: all that may be fine enough. Padding lowers a level's ratio."""
        ratios = [min(self._ratios(number)) for number in range(len(self._sizes))]
        return max(
            number for number, ratio in enumerate(ratios, 1) if number == 1 or ratio <= wanted * LEVEL_0_PADDING
        )

    def _check(self, stop: int) -> None:
        with LevelReader(self._slide, self._path) as reader:
            self._points = self._points or sample_points(reader)
            for number in range(self._checked, stop):
                found = self._verified(reader, number)
                if found is not None:
                    self._usable.append(found)
        self._checked = stop

    def _verified(self, reader: LevelReader, number: int) -> Level | None:
        """Return a level with the scale that its pixels confirm; None if the level is not usable."""
        finer = self._usable[-1]

        def correlation(level: Level) -> float | None:
            return similarity(reader, self._points, finer, level)

        if self._is_rounded_only(number):
            stated = Level(number, self._stated[number], *self._sizes[number])
            if correlation(stated) != 0:
                return stated
        candidates = [(value, each) for each in self._padded_candidates(number) if (value := correlation(each))]
        return max(candidates, key=lambda each: each[0])[1] if candidates else None

    def _ratios(self, number: int) -> tuple[float, float]:
        return self._sizes[0][0] / self._sizes[number][0], self._sizes[0][1] / self._sizes[number][1]

    def _is_rounded_only(self, number: int) -> bool:
        """Whether rounding alone explains the level's size, at one scale for both axes."""
        sides = list(zip(self._sizes[0], self._sizes[number], strict=True))
        least = max(whole / (part + ROUNDING_PX) for whole, part in sides)
        most = min(whole / (part - ROUNDING_PX) if part > ROUNDING_PX else math.inf for whole, part in sides)
        return least <= most

    def _padded_candidates(self, number: int) -> list[Level]:
        """Return the level at each scale that it may have: powers of 2, small integers, and its two ratios."""
        ratios = self._ratios(number)
        least, most = min(ratios) / 1.5, max(ratios) * MAX_PADDING
        powers = [2.0**each for each in range(math.floor(math.log2(least)), math.ceil(math.log2(most)) + 1)]
        scales = [*powers, *(float(each) for each in range(2, 7)), *ratios, *(float(round(each)) for each in ratios)]
        distinct: list[float] = []
        for scale in scales:
            another = all(max(scale, each) > DISTINCT_FACTOR * min(scale, each) for each in distinct)
            if another and scale > 1 and least <= scale <= most:
                distinct.append(scale)
        return [Level(number, each, *self._extent(number, each)) for each in distinct]

    def _extent(self, number: int, downsample: float) -> tuple[int, int]:
        """Return how many columns and rows of a level show the slide; the rest is padding."""
        (width, height), (columns, rows) = self._sizes[0], self._sizes[number]
        return min(columns, math.ceil(width / downsample)), min(rows, math.ceil(height / downsample))
