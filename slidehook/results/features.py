"""The features of a result's GeoJSON, as QuPath reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slidehook.geometry import PixelPoint

CORNER = PixelPoint(0, 0)
DECIMALS = 2
"""Coordinates are rounded to so many decimals, as QuPath does."""

Feature = dict[str, Any]


class FeatureWriter:
    """Makes features whose coordinates count from `origin`; `app_name` is the class of features without one."""

    def __init__(self, app_name: str, origin: PixelPoint = CORNER) -> None:
        self.app_name = app_name
        self._origin = origin
        self._colours: dict[str, str] = {}

    def line(self, points: Sequence[PixelPoint], *, closed: bool, kind: str, of_class: Feature, name: str) -> Feature:
        """Make a polygon, or a line if it is not `closed`. `kind`: "annotation" or "detection"."""
        places = [self._place(point) for point in points]
        # A reader may refuse the whole file because of one ring of fewer than 4 points, or a line of 1.
        places += [places[-1]] * ((3 if closed else 2) - len(places))
        more = {"name": name} if name else {}
        if closed:
            return _feature({"type": "Polygon", "coordinates": [[*places, places[0]]]}, kind, of_class, more)
        return _feature({"type": "LineString", "coordinates": places}, kind, of_class, more)

    def point(self, at: PixelPoint, *, kind: str, of_class: Feature, **more: Any) -> Feature:
        """Make a point with further properties."""
        return _feature({"type": "Point", "coordinates": self._place(at)}, kind, of_class, more)

    def class_of(self, name: str, colour: str) -> Feature:
        """Return a QuPath class. A class has one colour: for a second one, the colour is added to the name."""
        plain = _class_name(name)
        if self._colours.setdefault(plain, colour) != colour:
            plain = f"{plain} {colour}"
        return _class(plain, colour)

    def class_of_tag(self, tag: str, colour: str) -> Feature:
        """Return the QuPath class of a gallery's tag."""
        return _class(_class_name(tag), colour)

    def _place(self, point: PixelPoint) -> list[float]:
        return [round(point.x - self._origin.x, DECIMALS), round(point.y - self._origin.y, DECIMALS)]


def _class_name(name: str) -> str:
    # QuPath reads a colon as "a class within a class", and accepts no line breaks.
    return " ".join(name.replace(":", " ").split()) or "result"


def _class(name: str, colour: str) -> Feature:
    return {"name": name, "color": [int(colour[at : at + 2], 16) for at in (1, 3, 5)]}


def _feature(geometry: Feature, kind: str, of_class: Feature, more: Feature) -> Feature:
    properties = {"objectType": kind, "classification": of_class, **more}
    return {"type": "Feature", "geometry": geometry, "properties": properties}
