"""Reduces shapes to what a viewer can draw: it keeps the largest, and simplifies their outlines if necessary.

The method is that of Douglas and Peucker (1973), in the variant of GEOS that never makes a polygon cross itself:
every omitted corner lies within the tolerance of the drawn line.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from shapely import LineString, Polygon

from slidehook.geometry import PixelPoint
from slidehook.result import Result, Shape, Text

FIRST_UM, LAST_UM = 0.5, 16.0
"""The first and the last tolerance, in µm; each is twice the previous one."""
FIRST_PX, LAST_PX = 1.0, 64.0
"""The same in level-0 pixels, for a slide without a certain pixel size."""
ENDLESS_PX = 1e6
"""A tolerance, in level-0 pixels, beyond which no outline becomes simpler."""
SHAPES_SHOWN = "Shapes shown"
"""The row of the table that states what was left out."""


def within_budget(result: Result, *, max_polygons: int, max_points: int, mpp: float | None = None) -> Result:
    """Return a result with at most `max_polygons` polygons and lines, which have at most `max_points` corners in all.

    A result within these limits is returned unchanged. In any other one the row `SHAPES_SHOWN` of the table states
    what was left out. The largest shapes are kept: lines are compared by length, polygons by the square root of their
    area. If they have too many corners, they are simplified with a growing tolerance; if the last tolerance is not
    enough, the smallest shapes are left out. The last tolerance is exceeded only if otherwise not even the largest
    shape could be shown. A polygon that crosses itself still does. A label at a corner of an omitted shape is omitted
    as well. `mpp`: µm per level-0 pixel, None if it is not certain.
    """
    shapes = result.shapes
    if len(shapes) <= max_polygons and _corners(shapes) <= max_points:
        return result
    largest = np.argsort(-_sizes(shapes), kind="stable")[:max_polygons].tolist()
    drawn, tolerance = _simplified([shapes[number] for number in largest], max_points, mpp)
    kept = {largest[place]: drawn[place] for place in _fitting(drawn, max_points)}
    notes = [
        *(["largest"] if len(kept) < len(shapes) else []),
        *([f"outlines simplified to {tolerance}"] if tolerance else []),
    ]
    return replace(
        result,
        shapes=[kept[number] for number in sorted(kept)],
        texts=_labels(result.texts, shapes, kept.keys()),
        properties={**result.properties, SHAPES_SHOWN: f"{len(kept)} of {len(shapes)} ({'; '.join(notes)})"},
    )


def _corners(shapes: Sequence[Shape]) -> int:
    return sum(len(each.points) for each in shapes)


def _sizes(shapes: Sequence[Shape]) -> NDArray[np.float64]:
    """Return each line's length and the square root of each polygon's area, in pixels."""
    owner = np.repeat(np.arange(len(shapes)), [len(each.points) for each in shapes])
    places = np.array([(point.x, point.y) for each in shapes for point in each.points], np.float64).reshape(-1, 2)
    ends = np.flatnonzero(np.diff(owner, append=-1))
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    # Coordinates may be as large as floats can be; shapes with such coordinates have no size.
    with np.errstate(over="ignore", invalid="ignore"):
        # Relative to each shape's first corner, so that a small shape far from the slide's corner loses no digits.
        places -= np.repeat(places[starts], np.diff(starts, append=len(places)), axis=0)
        after = np.roll(places, -1, axis=0)
        after[ends] = places[starts]
        crossed = places[:, 0] * after[:, 1] - after[:, 0] * places[:, 1]
        steps = np.hypot(*(after - places).T)
        steps[ends] = 0
        areas = np.abs(np.bincount(owner, crossed, len(shapes))) / 2
        sizes = np.where([each.closed for each in shapes], np.sqrt(areas), np.bincount(owner, steps, len(shapes)))
    return np.nan_to_num(sizes, nan=0, posinf=0)


def _simplified(shapes: list[Shape], max_points: int, mpp: float | None) -> tuple[list[Shape], str]:
    """Simplify shapes, the largest first, as far as needed; also returns the tolerance as text."""
    if _corners(shapes) <= max_points:
        return shapes, ""
    tolerance, last, unit = (FIRST_PX, LAST_PX, "pixels") if mpp is None else (FIRST_UM, LAST_UM, "µm")
    while True:
        tolerance_px = tolerance / (mpp or 1.0)
        simpler = [_simpler(each, tolerance_px) for each in shapes]
        enough = len(simpler[0].points) <= max_points or tolerance_px > ENDLESS_PX
        if _corners(simpler) <= max_points or (enough and tolerance >= last):
            return simpler, f"{tolerance:.1f} {unit}"
        tolerance *= 2


def _simpler(shape: Shape, tolerance_px: float) -> Shape:
    if len(shape.points) < 3 + shape.closed:
        return shape
    places = [(point.x, point.y) for point in shape.points]
    if not shape.closed:
        found = list(LineString(places).simplify(tolerance_px, preserve_topology=False).coords)
        return replace(shape, points=_points(found)) if len(found) > 1 else shape
    polygon = Polygon(places)
    if polygon.is_valid:
        # Half the tolerance, since GEOS simplifies a ring's start last and may add as much deviation there again.
        smaller = polygon.simplify(tolerance_px / 2, preserve_topology=True)
        if not isinstance(smaller, Polygon) or smaller.is_empty or not smaller.is_valid:
            return shape
        return replace(shape, points=_points(list(smaller.exterior.coords)[:-1]))
    ring = list(LineString([*places, places[0]]).simplify(tolerance_px, preserve_topology=False).coords)[:-1]
    return replace(shape, points=_points(ring)) if len(ring) >= 3 else shape


def _points(places: Sequence[tuple[float, ...]]) -> tuple[PixelPoint, ...]:
    return tuple(PixelPoint(x, y) for x, y in places)


def _fitting(shapes: Sequence[Shape], max_points: int) -> list[int]:
    """Return the indices of the first shapes that together have at most `max_points` corners.

    A shape that alone has more is skipped.
    """
    found, left = [], max_points
    for place, shape in enumerate(shapes):
        if len(shape.points) > max_points:
            continue
        left -= len(shape.points)
        if left < 0:
            break
        found.append(place)
    return found


def _labels(texts: list[Text], shapes: Sequence[Shape], kept: Collection[int]) -> list[Text]:
    """Return the labels, except those at a corner of omitted shapes only."""
    gone = {point for number, shape in enumerate(shapes) if number not in kept for point in shape.points}
    gone -= {point for number in kept for point in shapes[number].points}
    return [each for each in texts if each.at not in gone]
