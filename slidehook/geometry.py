"""Positions on a slide, in level-0 pixels and in result coordinates: two types, so that they can't be confused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from slidehook.models import Point


@dataclass(frozen=True)
class PixelPoint:
    """A position in level-0 pixels: x to the right, y down, from the slide's upper left corner."""

    x: float
    y: float


@dataclass(frozen=True)
class Frame:
    """A slide's extent in level-0 pixels, and the conversion between pixels and result coordinates.

    Result coordinates divide *both* axes by the width: x runs 0…1, y runs 0…height/width (IA-API).
    Raises ValueError unless both sides are above 0.
    """

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"a slide of {self.width} x {self.height} pixels has no coordinates")

    @property
    def bottom(self) -> float:
        """The lower edge's y in result coordinates."""
        return self.height / self.width

    def to_result(self, point: PixelPoint) -> Point:
        """Return a pixel's position in result coordinates."""
        return Point(x=point.x / self.width, y=point.y / self.width)

    def to_pixel(self, point: Point) -> PixelPoint:
        """Return the pixel at a position in result coordinates."""
        return PixelPoint(point.x * self.width, point.y * self.width)

    def rectangle(self, left: float, top: float, right: float, bottom: float) -> list[PixelPoint]:
        """Return the corners of a rectangle, each side as a fraction 0…1 of the slide's own width or height."""
        x0, x1 = left * self.width, right * self.width
        y0, y1 = top * self.height, bottom * self.height
        return [PixelPoint(x0, y0), PixelPoint(x1, y0), PixelPoint(x1, y1), PixelPoint(x0, y1)]

    def points(self, pixels: Iterable[PixelPoint]) -> list[Point]:
        """Return several pixels' positions in result coordinates."""
        return [self.to_result(pixel) for pixel in pixels]
