"""The regions that a user drew, in level-0 pixels: checked, and repaired if there is only one way to do so.

Repairs: a repeated corner, the first corner repeated at the end, a line that goes out and returns the same way, and
slips of the pen (parts smaller than the fraction `SLIP` of the region) are removed; parts beyond the slide's edge are
cut off. Regions that overlap are kept as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import shapely
from shapely import Polygon

from slidehook.errors import BadRequest
from slidehook.geometry import Frame, PixelPoint
from slidehook.models import Input, MultiAreaInput, Point, TaggedPolygonInput, WholeSlideInput
from slidehook.models import Polygon as DrawnPolygon

FARTHEST = 10_000.0
"""The largest distance of a point from the slide's corner, in widths of the slide."""
GRID_PX = 2**-10
"""The grid of rounded corners, in level-0 pixels: finer than any hand, coarse enough for exact arithmetic."""
SMALLEST_PX = 1.0
"""The smallest area of a region, in level-0 pixels."""
SLIP = 0.01
"""Parts smaller than this fraction of a region's largest part are slips of the pen."""
MOST_CROSSINGS = 1000
"""A line that crosses itself more often is refused: repairing it would take minutes."""
_UNKNOWN = Frame(1_000_000, 1_000_000_000)
"""The extent assumed while a slide's size is not known: larger than any, so that no region is refused wrongly."""


@dataclass(frozen=True)
class Region:
    """One region that the user drew: a valid `polygon` with an area, in level-0 pixels, within the slide.

    It may have holes if the user's line touched itself.
    """

    polygon: Polygon

    @property
    def points(self) -> tuple[PixelPoint, ...]:
        """The corners of the outer line, without repetition."""
        return tuple(PixelPoint(x, y) for x, y in self.polygon.exterior.coords[:-1])

    @property
    def area_px(self) -> float:
        """The area in level-0 pixels, without the holes."""
        return float(self.polygon.area)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """The left, top, right and bottom of the bounding rectangle, in level-0 pixels."""
        left, top, right, bottom = self.polygon.bounds
        return left, top, right, bottom

    def in_result(self, frame: Frame) -> list[Point]:
        """Return the corners of the outer line in result coordinates."""
        return frame.points(self.points)


def regions_of(drawn: Input, frame: Frame | None) -> tuple[Region, ...]:
    """Return the regions of an invocation's input, in the order they were drawn; empty for a whole slide.

    `frame` is the slide's extent. Without it, the lower edge is unknown and the coordinates are not the slide's: the
    call only checks that the regions are valid. Raises BadRequest with one sentence for the user.
    """
    polygons = _polygons(drawn)
    if not polygons and not isinstance(drawn, WholeSlideInput):
        raise BadRequest("No region was drawn.")
    several = len(polygons) > 1
    return tuple(
        _region(polygon, frame or _UNKNOWN, f"Region {number}" if several else "The region")
        for number, polygon in enumerate(polygons, 1)
    )


def tag_of(drawn: Input, tags: Sequence[str]) -> str | None:
    """Return the tag of a tagged polygon; None if it has none.

    `tags` are the app's. Raises BadRequest if the input has other tags, or an index out of range.
    """
    if not isinstance(drawn, TaggedPolygonInput):
        return None
    told, index = drawn.content.tags, drawn.content.tag_index
    if strange := [tag for tag in told or [] if tag not in tags]:
        raise BadRequest(f"{strange[0]!r} is not one of the app's tags; its registration may be out of date.")
    choice = list(tags) if told is None else told
    if index is None:
        return choice[0] if told is not None and len(choice) == 1 else None
    if not tags:
        return None
    if not 0 <= index < len(choice):
        raise BadRequest(f"The tagIndex is {index}, but there are {len(choice)} tags.")
    return choice[index]


def _polygons(drawn: Input) -> list[DrawnPolygon]:
    if isinstance(drawn, TaggedPolygonInput):
        return [drawn.content.polygon]
    return drawn.content.polygons if isinstance(drawn, MultiAreaInput) else []


def _region(drawn: DrawnPolygon, frame: Frame, name: str) -> Region:
    if any(max(abs(point.x), abs(point.y)) > FARTHEST for point in drawn.points):
        raise BadRequest(f"{name} has a point that lies absurdly far from the slide.")
    corners = _distinct([_on_grid(frame.to_pixel(point)) for point in drawn.points])
    if len(set(corners)) < 3:
        raise BadRequest(f"{name} needs at least three different points.")
    whole = _one_part(
        _parts(_valid(Polygon(corners), name)),
        f"{name} has no area.",
        f"{name} crosses itself: draw it without crossings, or as separate regions.",
    )
    if whole.area < SMALLEST_PX:
        raise BadRequest(f"{name} has no area.")
    slide = shapely.box(0, 0, frame.width, frame.height)
    if slide.covers(whole):
        return Region(whole)
    inside = _one_part(
        _parts(shapely.intersection(whole, slide, grid_size=GRID_PX)),
        f"{name} lies outside the slide.",
        f"{name} is cut into several parts by the slide's edge: draw it within the slide, or as separate regions.",
    )
    if inside.area < SMALLEST_PX:
        raise BadRequest(f"{name} lies outside the slide.")
    return Region(inside)


def _on_grid(point: PixelPoint) -> tuple[float, float]:
    return round(point.x / GRID_PX) * GRID_PX, round(point.y / GRID_PX) * GRID_PX


def _distinct(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Remove each corner that repeats the previous one, and the first corner repeated at the end."""
    kept = [points[0]] if points else []
    kept += [after for before, after in pairwise(points) if after != before]
    while len(kept) > 1 and kept[-1] == kept[0]:
        kept.pop()
    return kept


def _valid(polygon: Polygon, name: str) -> shapely.Geometry:
    if polygon.is_valid:
        return polygon
    if _crosses_often(polygon):
        raise BadRequest(f"{name} crosses itself again and again: draw it without crossings.")
    return shapely.make_valid(polygon)


def _crosses_often(polygon: Polygon) -> bool:
    """Return whether the outer line crosses or touches itself more than `MOST_CROSSINGS` times."""
    corners = shapely.get_coordinates(polygon.exterior)
    lines = np.asarray(shapely.linestrings(np.stack([corners[:-1], corners[1:]], axis=1)))
    tree = shapely.STRtree(lines)
    found = 0
    for start in range(0, len(lines), 16):
        some = lines[start : start + 16]
        found += tree.query(some, predicate="intersects").shape[1]
        # Each segment meets itself and its two neighbours, and each meeting is counted from both sides.
        if found - 3 * (start + len(some)) > 2 * MOST_CROSSINGS:
            return True
    return False


def _parts(geometry: shapely.Geometry) -> list[Polygon]:
    """Return a geometry's polygons, largest first, without lines, points and slips of the pen."""
    flat = [piece for part in shapely.get_parts(geometry) for piece in shapely.get_parts(part)]
    parts = sorted((each for each in flat if isinstance(each, Polygon)), key=_area, reverse=True)
    return [part for part in parts if part.area > 0 and part.area >= SLIP * parts[0].area]


def _area(polygon: Polygon) -> float:
    return float(polygon.area)


def _one_part(parts: list[Polygon], none: str, several: str) -> Polygon:
    if not parts:
        raise BadRequest(none)
    if len(parts) > 1:
        raise BadRequest(several)
    return parts[0]
