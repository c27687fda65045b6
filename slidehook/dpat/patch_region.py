"""The polygon round a gallery's patches, which DPAT expects: added where the app's own polygons leave a patch out."""

from __future__ import annotations

import math

import shapely
from shapely import Polygon, STRtree

from slidehook.geometry import Frame, PixelPoint
from slidehook.result import BLUE, Gallery, Shape

NEAR_PX = 1.0
"""How far outside a polygon a patch may lie, in level-0 pixels: places are divided and multiplied on their way."""
BASE_MAGNIFICATION = 40
"""The largest that a patch may be on the slide, in level-0 pixels, is reckoned for a slide of this magnification."""


def with_region(gallery: Gallery, shapes: list[Shape], frame: Frame) -> list[Shape]:
    """Give the polygons beside a gallery, and a rectangle round all patches where one lies in none of them."""
    if not gallery.patches or _all_inside(gallery, shapes):
        return shapes
    return [*shapes, region_round(gallery, frame)]


def without_region(gallery: Gallery, shapes: list[Shape], frame: Frame) -> list[Shape]:
    """Give the polygons beside a stored gallery without the rectangle that `with_region` added."""
    if not gallery.patches or not shapes or not _is_same(shapes[-1], region_round(gallery, frame)):
        return shapes
    return shapes[:-1]


def region_round(gallery: Gallery, frame: Frame) -> Shape:
    """Give the rectangle round all patches of a gallery that has some, within the slide where they are."""
    margin = max(1, round(gallery.patch_size_px)) * BASE_MAGNIFICATION / gallery.magnification
    xs, ys = [each.at.x for each in gallery.patches], [each.at.y for each in gallery.patches]
    left, right = max(min(xs) - margin, min(0.0, *xs)), min(max(xs) + margin, max(frame.width, *xs))
    top, bottom = max(min(ys) - margin, min(0.0, *ys)), min(max(ys) + margin, max(frame.height, *ys))
    # The corner in the middle of the top side tells it from a rectangle of the app's own.
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
