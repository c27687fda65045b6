"""Nuclei that an app classifies as positive or negative: their table, and the recount after a user's corrections.

The result contains all that the recount needs: the numbers that the app counted, the threshold, and in each patch's
sort key the density by which it was classified. So the original tag of a patch is known, however often it was moved.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import shapely
from shapely import Polygon

from slidehook.errors import AppError
from slidehook.measuring.measurable import BLURRED, Sums, complaint
from slidehook.measuring.overlaps import Floats
from slidehook.result import Patch, Result

Row = str | int | float
DECIMALS = 3
"""A density is rounded before it is compared, so that the rounded value in the gallery gives the same result."""

NUCLEI, POSITIVE, NEGATIVE = "Nuclei", "Positive", "Negative"
PERCENT, DAB_AREA, PER_MM2 = "Positive (%)", "DAB area (%)", "Nuclei per mm²"
UNSHARP = "Nuclei where it is blurred"
FAINT = "Haematoxylin"
BLURRED_AREA = "Blurred or without detail (%)"
FROM = "Positive from DAB density"
SHOWN = "Nuclei shown"
REGIONS = "Regions"
HOLES = "Holes"
"""The row with the number of holes of the regions, if any; each is a separate shape after its region's."""
MOVED = "Corrected by the user"
BY_APP = "Positive, by the app"
TAGS = ["positive", "negative"]
PALE, MOST_PALE = 0.1, 1 / 3
"""The haematoxylin below which a nucleus is pale; above this fraction of pale negative ones, others may be missed."""
NO_NUCLEI = "no nuclei found"


@dataclass
class Count:
    """The nuclei counted in one region, or in all. `unsharp`: those where the picture is not sharp.

    `pale`: the number of negative ones with hardly any haematoxylin.

    `own_colours`: the stains' colours are the site's own.
    """

    positive: int = 0
    negative: int = 0
    unsharp: int = 0
    pale: int = 0
    sums: Sums = field(default_factory=Sums)
    own_colours: bool = False

    @property
    def nuclei(self) -> int:
        """All of them."""
        return self.positive + self.negative

    @property
    def is_faint(self) -> bool:
        """Whether haematoxylin is so weak that negative nuclei may be missed."""
        if not self.negative:
            return bool(self.positive) and not self.sums.hues.haematoxylin
        return self.pale > MOST_PALE * self.negative

    @property
    def complaint(self) -> str:
        """Why none of this may be told; empty when it may."""
        return complaint(self.sums, self.nuclei, self.unsharp, own_colours=self.own_colours)


class ReservoirSample:
    """Selects at most `most` of all given rows, each with the same probability."""

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


def of_region(number: int) -> str:
    """Return what the rows of one region of several begin with; regions are counted from 1."""
    return f"Region {number}: "


def rows(count: Count, area_mm2: float, *, prefix: str = "") -> dict[str, Row]:
    """Return the rows of a region, or of all (without a prefix); there is no percentage of no nuclei."""
    nuclei = count.nuclei
    table: dict[str, Row] = {
        NUCLEI: nuclei,
        POSITIVE: count.positive,
        NEGATIVE: count.negative,
        PERCENT: _percent(count.positive, nuclei),
        PER_MM2: round(nuclei / area_mm2),
        DAB_AREA: _percent(count.sums.dab, count.sums.pixels),
    }
    if not nuclei:
        del table[PERCENT]
    if count.is_faint:
        table[FAINT] = "weak: pale nuclei may be missed, and the percentage be too high"
    if count.unsharp:
        table[UNSHARP] = count.unsharp
    if blurred := _percent(count.sums.blurred, count.sums.pixels):
        table[BLURRED_AREA] = blurred
    return {f"{prefix}{name}": value for name, value in table.items()}


def summary(table: dict[str, Row]) -> str:
    """Return the line that stands in DPAT's annotation list."""
    if not table[NUCLEI]:
        blurred = f", but {table[BLURRED_AREA]} % is {BLURRED}" if BLURRED_AREA in table else ""
        return f"{NO_NUCLEI}{blurred}"
    corrected = ", corrected by the user" if MOVED in table else ""
    return f"{table[PERCENT]} % of {table[NUCLEI]} nuclei positive{corrected}"


def recount(result: Result) -> Result:
    """Count anew what the user corrected: a moved patch is one nucleus more of its new tag, one less of the old.

    A result without a gallery stays as it is. Raises AppError when its table or its gallery is not the app's.
    """
    if result.gallery is None:
        return result
    table = dict(result.properties)
    if len(result.gallery.patches) != _number(table, SHOWN):
        raise AppError(f"the gallery has {len(result.gallery.patches)} patches, but {table[SHOWN]} were shown")
    limit = _number(table, FROM)
    moved = [each for each in result.gallery.patches if each.tag != _called(each, limit)]
    _correct(table, moved)
    if REGIONS in table:
        expected = _number(table, REGIONS) + _holes(table)
        if len(result.shapes) != expected:
            raise AppError(f"there are {len(result.shapes)} outlines, but {expected} were drawn")
        rings = iter([(point.x, point.y) for point in shape.points] for shape in result.shapes)
        for number in range(1, int(_number(table, REGIONS)) + 1):
            if f"{of_region(number)}{NUCLEI}" not in table:
                break
            region = Polygon(next(rings), list(islice(rings, _holes(table, of_region(number)))))
            _correct(table, [each for each in moved if _lies_in(each, region)], of_region(number))
    table.pop(MOVED, None)
    if moved:
        table[MOVED] = len(moved)
    result.properties = table
    result.text = summary(table)
    return result


def _called(patch: Patch, limit: float) -> str:
    """Return the tag that the app gave a patch."""
    if patch.tag not in TAGS or isinstance(patch.sort_key, str) or patch.sort_key is None:
        raise AppError("the gallery has a patch that is not the app's")
    return TAGS[0] if round(patch.sort_key, DECIMALS) >= limit else TAGS[1]


def _lies_in(patch: Patch, region: Polygon) -> bool:
    return bool(shapely.contains_xy(region, patch.at.x, patch.at.y))


def _correct(table: dict[str, Row], moved: list[Patch], prefix: str = "") -> None:
    """Put a region's corrected numbers in the place of the ones before."""
    nuclei = int(_number(table, f"{prefix}{NUCLEI}"))
    by_app = int(_number(table, f"{prefix}{BY_APP if f'{prefix}{BY_APP}' in table else POSITIVE}"))
    table.pop(f"{prefix}{BY_APP}", None)
    positive = by_app + sum(1 if each.tag == TAGS[0] else -1 for each in moved)
    if not 0 <= positive <= nuclei:
        raise AppError(f"{positive} of {nuclei} nuclei would be positive: other patches were moved than were counted")
    table[f"{prefix}{POSITIVE}"], table[f"{prefix}{NEGATIVE}"] = positive, nuclei - positive
    if nuclei:
        table[f"{prefix}{PERCENT}"] = _percent(positive, nuclei)
    if moved:
        table[f"{prefix}{BY_APP}"] = by_app


def _holes(table: dict[str, Row], prefix: str = "") -> int:
    """Return how many holes a region has, or all have; there is no row of none."""
    return int(_number(table, f"{prefix}{HOLES}")) if f"{prefix}{HOLES}" in table else 0


def _number(table: dict[str, Row], name: str) -> int | float:
    value = table.get(name)
    if value is None or isinstance(value, str):
        raise AppError(f"the result's table does not say {name!r}")
    return value


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1) if whole else 0.0
