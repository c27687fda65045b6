"""The scanned part of a slide, as its file states it, and the origin of QuPath's coordinates."""

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

    If the file states bounds, QuPath shows only this part and places the origin at its corner. DPAT, and slidehook
    except in GeoJSON, place the origin at the corner of the whole slide.
    """

    x: int
    y: int
    width: int
    height: int


def qupath_origin(bounds: Bounds | None) -> PixelPoint:
    """Return QuPath's origin in level-0 pixels: the corner of the bounds, or (0, 0) without bounds."""
    return PixelPoint(0, 0) if bounds is None else PixelPoint(bounds.x, bounds.y)


def geojson_frame(slide: OpenSlide) -> str:
    """Return the receipt's description of the GeoJSON frame; empty if the file states no bounds."""
    if not any(name in slide.properties for name in NAMES):
        return ""
    bounds = stated_bounds(slide)
    if bounds is None:
        return "whole slide (the file's bounds do not lie within it)"
    return f"QuPath's: the file's bounds, {bounds.width} x {bounds.height} px from ({bounds.x}, {bounds.y})"


def stated_bounds(slide: OpenSlide) -> Bounds | None:
    """Return the bounds that a file states; None if it states none, or bounds that are not within the slide."""
    try:
        x, y, width, height = (int(slide.properties[name]) for name in NAMES)
    except (KeyError, ValueError):
        return None
    across, down = slide.dimensions
    lies_within = 0 <= x < x + width <= across and 0 <= y < y + height <= down
    return Bounds(x, y, width, height) if lies_within else None
