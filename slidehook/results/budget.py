"""Keeps a result within what a viewer can draw: of too many shapes the largest, and with fewer corners if need be.

Outlines are simplified by Douglas and Peucker's method (1973), as GEOS does it without making a polygon cross itself:
no corner that is left out lies farther from the drawn line than the tolerance.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from shapely import LineString, Polygon

from slidehook.app import App
from slidehook.geometry import PixelPoint
from slidehook.result import Result, Shape, Text

FIRST_UM, LAST_UM = 0.5, 16.0
"""The tolerances that are tried first and last, in µm; each is twice the one before."""
FIRST_PX, LAST_PX = 1.0, 64.0
"""The same in level-0 pixels, for a slide whose pixel size is not certain."""
ENDLESS_PX = 1e6
"""A tolerance that leaves nothing to be simplified, in level-0 pixels."""
SHAPES_SHOWN, PATCHES_SHOWN = "Shapes shown", "Patches shown"
"""The rows of the table that say what was left out."""


def within_limits(app: App | type[App], result: Result, *, mpp: float | None = None) -> Result:
    """Give as much of an app's result as the app's own limits let through; see `within_budget`."""
    fewer = within_budget(result, max_polygons=app.max_polygons, max_points=app.max_points, mpp=mpp)
    gallery = fewer.gallery
    if gallery is None or len(gallery.patches) <= app.max_patches:
        return fewer
    note = f"{app.max_patches} of {len(gallery.patches)} (first)"
    return replace(
        fewer,
        gallery=replace(gallery, patches=gallery.patches[: app.max_patches]),
        properties={**fewer.properties, PATCHES_SHOWN: note},
    )


def within_budget(result: Result, *, max_polygons: int, max_points: int, mpp: float | None = None) -> Result:
    """Give a result with at most `max_polygons` polygons and lines, and `max_points` corners of them in all.

    The same result when that holds already; else one whose table says in the row `SHAPES_SHOWN` what was left out.
    The largest are kept: lines count by their length, polygons by the side of a square of their area. When those have
    too many corners they are simplified with a growing tolerance, and if the last is not enough the smallest go.
    It is passed only where not even the largest shape could be shown. A polygon that crosses itself still does.
    A label at a corner of a shape that is left out goes with it. `mpp`: µm per level-0 pixel, None when not certain.
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
    """Give the length of each line, and the side of a square of each polygon's area, in pixels."""
    owner = np.repeat(np.arange(len(shapes)), [len(each.points) for each in shapes])
    places = np.array([(point.x, point.y) for each in shapes for point in each.points], np.float64).reshape(-1, 2)
    ends = np.flatnonzero(np.diff(owner, append=-1))
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    # Places may be as far away as numbers go; shapes with such have no size.
    with np.errstate(over="ignore", invalid="ignore"):
        # From each shape's own first corner, so that a small shape far from the slide's corner loses no digits.
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
    """Simplify shapes, of which the largest is the first, as far as needed; gives the tolerance in words as well."""
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
        # By half: GEOS looks at a ring's own end last, and may lead the line as far past the corners there once more.
        smaller = polygon.simplify(tolerance_px / 2, preserve_topology=True)
        if not isinstance(smaller, Polygon) or smaller.is_empty or not smaller.is_valid:
            return shape
        return replace(shape, points=_points(list(smaller.exterior.coords)[:-1]))
    ring = list(LineString([*places, places[0]]).simplify(tolerance_px, preserve_topology=False).coords)[:-1]
    return replace(shape, points=_points(ring)) if len(ring) >= 3 else shape


def _points(places: Sequence[tuple[float, ...]]) -> tuple[PixelPoint, ...]:
    return tuple(PixelPoint(x, y) for x, y in places)


def _fitting(shapes: Sequence[Shape], max_points: int) -> list[int]:
    """Give the places of as many shapes, from the first on, as have at most `max_points` corners in all.

    One that has more by itself is passed over.
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
    """Leave out the labels that stand at a corner of none but shapes that are left out."""
    gone = {point for number, shape in enumerate(shapes) if number not in kept for point in shape.points}
    gone -= {point for number in kept for point in shapes[number].points}
    return [each for each in texts if each.at not in gone]
