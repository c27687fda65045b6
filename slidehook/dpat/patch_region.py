"""The polygon around a gallery's patches, which DPAT requires: added if the app's own polygons omit a patch."""

from __future__ import annotations

import math

import shapely
from shapely import Polygon, STRtree

from slidehook.geometry import Frame, PixelPoint
from slidehook.result import BLUE, Gallery, Shape

NEAR_PX = 1.0
"""How far outside a polygon a patch may lie, in level-0 pixels, to allow for rounding in conversions."""
BASE_MAGNIFICATION = 40
"""The magnification of the slide that is assumed for the largest size of a patch in level-0 pixels."""


def with_region(gallery: Gallery, shapes: list[Shape], frame: Frame) -> list[Shape]:
    """Return a gallery's polygons, plus a rectangle around all patches if any patch lies outside all polygons."""
    if not gallery.patches or _all_inside(gallery, shapes):
        return shapes
    return [*shapes, region_around(gallery, frame)]


def without_region(gallery: Gallery, shapes: list[Shape], frame: Frame) -> list[Shape]:
    """Return a stored gallery's polygons without the rectangle added by `with_region`."""
    if not gallery.patches or not shapes or not _is_same(shapes[-1], region_around(gallery, frame)):
        return shapes
    return shapes[:-1]


def region_around(gallery: Gallery, frame: Frame) -> Shape:
    """Return the rectangle around all patches of a non-empty gallery, within the slide if the patches are."""
    margin = max(1, round(gallery.patch_size_px)) * BASE_MAGNIFICATION / gallery.magnification
    xs, ys = [each.at.x for each in gallery.patches], [each.at.y for each in gallery.patches]
    left, right = max(min(xs) - margin, min(0.0, *xs)), min(max(xs) + margin, max(frame.width, *xs))
    top, bottom = max(min(ys) - margin, min(0.0, *ys)), min(max(ys) + margin, max(frame.height, *ys))
    # The extra corner in the middle of the top side distinguishes it from a rectangle of the app.
    corners = (left, top), ((left + right) / 2, top), (right, top), (right, bottom), (left, bottom)
    return Shape(tuple(PixelPoint(x, y) for x, y in corners), BLUE)


def _all_inside(gallery: Gallery, shapes: list[Shape]) -> bool:
    polygons = [Polygon([(at.x, at.y) for at in each.points]) for each in shapes if len(each.points) > 2]
    places = shapely.points([(each.at.x, each.at.y) for each in gallery.patches])
    inside, _ = STRtree(polygons).query(places, predicate="dwithin", distance=NEAR_PX)
    return len(set(inside.tolist())) == len(gallery.patches)


def _is_same(shape: Shape, region: Shape) -> bool:
    return len(shape.points) == len(region.points) and all(
        math.dist((one.x, one.y), (other.x, other.y)) < NEAR_PX
        for one, other in zip(shape.points, region.points, strict=True)
    )
