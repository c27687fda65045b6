"""Which part of a slide's file was scanned, as the file states it, and where QuPath counts places from."""

from __future__ import annotations

from dataclasses import dataclass

from openslide import (
    PROPERTY_NAME_BOUNDS_HEIGHT,
    PROPERTY_NAME_BOUNDS_WIDTH,
    PROPERTY_NAME_BOUNDS_X,
    PROPERTY_NAME_BOUNDS_Y,
    OpenSlide,
)

from slidehook.geometry import PixelPoint

NAMES = (
    PROPERTY_NAME_BOUNDS_X,
    PROPERTY_NAME_BOUNDS_Y,
    PROPERTY_NAME_BOUNDS_WIDTH,
    PROPERTY_NAME_BOUNDS_HEIGHT,
)


@dataclass(frozen=True)
class Bounds:
    """The scanned part of a slide in level-0 pixels: its upper left corner, width and height.

    QuPath shows only that part of a slide whose file states it, and counts places from its corner. DPAT, and all of
    slidehook but GeoJSON, counts them from the corner of the whole slide.
    """

    x: int
    y: int
    width: int
    height: int


def origin_in_qupath(bounds: Bounds | None) -> PixelPoint:
    """Give the corner that QuPath counts places from: that of the bounds, else of the whole slide."""
    return PixelPoint(0, 0) if bounds is None else PixelPoint(bounds.x, bounds.y)


def geojson_frame(slide: OpenSlide) -> str:
    """Say for the receipt which frame GeoJSON of a slide is in; empty where the file states no bounds at all."""
    if not any(name in slide.properties for name in NAMES):
        return ""
    bounds = stated_bounds(slide)
    if bounds is None:
        return "whole slide (the file's bounds do not lie within it)"
    return f"QuPath's: the file's bounds, {bounds.width} x {bounds.height} px from ({bounds.x}, {bounds.y})"


def stated_bounds(slide: OpenSlide) -> Bounds | None:
    """Read the bounds that a file states; None when it states none, or such as do not lie within the slide."""
    try:
        x, y, width, height = (int(slide.properties[name]) for name in NAMES)
    except (KeyError, ValueError):
        return None
    across, down = slide.dimensions
    lies_within = 0 <= x < x + width <= across and 0 <= y < y + height <= down
    return Bounds(x, y, width, height) if lies_within else None
