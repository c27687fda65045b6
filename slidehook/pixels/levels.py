"""Which levels of a slide's file can be used, and at which scale: what the file states is compared with its pixels.

A level that was padded to whole tiles (as in the files of CAMELYON and ASAP) is larger than the slide at that level:
the ratio of the sizes is not its scale, and each axis may give another ratio. Level 0 is what all places are counted
in. Every other level is compared with the next finer one that can be used, at a few places that show something.
"""

from __future__ import annotations

import math
import threading
from pathlib import Path

from openslide import OpenSlide

from slidehook.pixels.comparing import Level, Looking, Place, likeness, places_to_compare

ROUNDED_PX = 1
"""By how many pixels a level's side may differ from the slide's at that scale, and still only be rounded."""
PADDED = 4.0
"""By which factor padding may change the ratio of the sizes, at most, for the true scale to be looked for."""
ALMOST = 1.05
"""By which factor the padding of level 0 may make a ratio larger."""
SAME = 1.003
"""Scales that differ by less than this factor are tried once."""


class Levels:
    """The levels of one file. A level is looked at when it is first wanted. Safe for several threads.

    `path`: the slide's file. It is opened once more to be looked at, since OpenSlide reads nothing more of what was
    opened once it has met a damaged part. Without it, `slide` itself is read.
    """

    def __init__(self, slide: OpenSlide, path: Path | None = None) -> None:
        self._slide = slide
        self._path = path
        self._sizes = slide.level_dimensions
        self._stated = slide.level_downsamples
        width, height = self._sizes[0]
        self._usable = [Level(0, 1.0, width, height)]
        self._looked_at = 1
        self._places: list[Place] = []
        self._lock = threading.Lock()

    def best(self, wanted: float) -> Level:
        """Give the coarsest level that has at most `wanted` level-0 pixels per pixel, else level 0."""
        with self._lock:
            if (stop := self._needed(wanted)) > self._looked_at:
                self._look(stop)
            fine_enough = [each for each in self._usable if each.shrink <= wanted]
            return max(fine_enough or self._usable[:1], key=lambda each: each.shrink)

    def _needed(self, wanted: float) -> int:
        """Say how many levels have to be looked at: those that may be fine enough; padding makes a ratio smaller."""
        ratios = [min(self._ratios(number)) for number in range(len(self._sizes))]
        return max(number for number, ratio in enumerate(ratios, 1) if number == 1 or ratio <= wanted * ALMOST)

    def _look(self, stop: int) -> None:
        with Looking(self._slide, self._path) as looking:
            self._places = self._places or places_to_compare(looking)
            for number in range(self._looked_at, stop):
                found = self._judged(looking, number)
                if found is not None:
                    self._usable.append(found)
        self._looked_at = stop

    def _judged(self, looking: Looking, number: int) -> Level | None:
        """Give a level with the scale that its pixels show; None when they show that it can't be used."""
        finer = self._usable[-1]

        def like(level: Level) -> float | None:
            return likeness(looking, self._places, finer, level)

        if self._is_only_rounded(number):
            stated = Level(number, self._stated[number], *self._sizes[number])
            if like(stated) != 0:
                return stated
        found = [(how_like, each) for each in self._padded(number) if (how_like := like(each))]
        return max(found, key=lambda each: each[0])[1] if found else None

    def _ratios(self, number: int) -> tuple[float, float]:
        return self._sizes[0][0] / self._sizes[number][0], self._sizes[0][1] / self._sizes[number][1]

    def _is_only_rounded(self, number: int) -> bool:
        """Say whether there is a scale at which the level is as large as the slide, but for rounding."""
        sides = list(zip(self._sizes[0], self._sizes[number], strict=True))
        least = max(whole / (part + ROUNDED_PX) for whole, part in sides)
        most = min(whole / (part - ROUNDED_PX) if part > ROUNDED_PX else math.inf for whole, part in sides)
        return least <= most

    def _padded(self, number: int) -> list[Level]:
        """Give a level with each scale that it may have: powers of 2, small whole numbers, and its two ratios."""
        ratios = self._ratios(number)
        least, most = min(ratios) / 1.5, max(ratios) * PADDED
        powers = [2.0**each for each in range(math.floor(math.log2(least)), math.ceil(math.log2(most)) + 1)]
        scales = [*powers, *(float(each) for each in range(2, 7)), *ratios, *(float(round(each)) for each in ratios)]
        distinct: list[float] = []
        for scale in scales:
            another = all(max(scale, each) > SAME * min(scale, each) for each in distinct)
            if another and scale > 1 and least <= scale <= most:
                distinct.append(scale)
        return [Level(number, each, *self._extent(number, each)) for each in distinct]

    def _extent(self, number: int, shrink: float) -> tuple[int, int]:
        """Give the columns and rows of a level that show the slide; what lies beyond is padding."""
        (width, height), (columns, rows) = self._sizes[0], self._sizes[number]
        return min(columns, math.ceil(width / shrink)), min(rows, math.ceil(height / shrink))
