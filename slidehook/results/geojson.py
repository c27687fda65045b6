"""Writes results as GeoJSON for QuPath, and reads regions from QuPath's GeoJSON; both in level-0 pixels.

QuPath shows only the part of a slide that its file states as scanned (`slidehook.pixels.bounds`), and its coordinates
start at that part's corner: `origin`, in pixels of the whole slide.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapely
from shapely import Polygon

from slidehook.errors import SlidehookError
from slidehook.geometry import PixelPoint
from slidehook.result import Result
from slidehook.results import kinds
from slidehook.results.features import CORNER, FeatureWriter

FARTHEST_PX = 1e12
"""The largest coordinate that is read, in level-0 pixels."""
SLIT_PX = 0.02
"""The width of the slit that joins a hole to the outside, in level-0 pixels."""


class GeoJsonInvalid(SlidehookError):
    """A file is not GeoJSON, or contains anything other than polygons."""


@dataclass(frozen=True)
class Outline:
    """A polygon of a GeoJSON file: its corners, without the first repeated, and its class or name ("" without one).

    Each hole is joined to the outside by a slit of `SLIT_PX`, because DPAT's regions consist of an outer line only.
    """

    points: tuple[PixelPoint, ...]
    name: str = ""


def geojson_of(result: Result, name: str, *, origin: PixelPoint = CORNER) -> bytes:
    """Return a result as a GeoJSON FeatureCollection: shapes, labels as points, a gallery's patches as points.

    Shapes without a name have the class `name`, the app's; patches have their tag as class. Coordinates count from
    `origin`.
    """
    writer = FeatureWriter(name, origin)
    features = [each for kind in kinds.KINDS for each in kind.features(result, writer)]
    collection = {"type": "FeatureCollection", "features": features}
    return json.dumps(collection, ensure_ascii=False, separators=(",", ":")).encode()


# --- reading


def read_outlines(path: Path, *, origin: PixelPoint = CORNER) -> list[Outline]:
    """Return the polygons of a GeoJSON file (level-0 pixels from `origin`) in its order; a MultiPolygon is several.

    The file holds a geometry, a Feature, a FeatureCollection or a list of them, as QuPath exports them. Raises
    GeoJsonInvalid, with one sentence, if the file is not GeoJSON, has no polygon or anything other than polygons, or
    if a hole does not lie within its polygon.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_no_number)
    except OSError as error:
        raise GeoJsonInvalid(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise GeoJsonInvalid(f"{path} is no JSON: {error}") from error
    try:
        found = list(_outlines(content, "", origin))
    except GeoJsonInvalid as error:
        raise GeoJsonInvalid(f"{path}: {error}") from error
    except RecursionError as error:
        raise GeoJsonInvalid(f"{path} holds lists within lists without end") from error
    if not found:
        raise GeoJsonInvalid(f"{path} holds no polygon")
    return found


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number")


def _outlines(content: Any, name: str, origin: PixelPoint) -> Iterator[Outline]:
    if isinstance(content, list):
        for each in content:
            yield from _outlines(each, name, origin)
        return
    kind = content.get("type") if isinstance(content, dict) else None
    if kind == "FeatureCollection":
        yield from _outlines(_list(content.get("features"), "`features`"), name, origin)
    elif kind == "GeometryCollection":
        yield from _outlines(_list(content.get("geometries"), "`geometries`"), name, origin)
    elif kind == "Feature":
        yield from _outlines(content.get("geometry"), _name(content.get("properties")), origin)
    elif kind == "Polygon":
        yield _outline(content.get("coordinates"), name, origin)
    elif kind == "MultiPolygon":
        for each in _list(content.get("coordinates"), "`coordinates`"):
            yield _outline(each, name, origin)
    elif kind in ("Point", "MultiPoint", "LineString", "MultiLineString"):
        raise GeoJsonInvalid(f"a {kind} is no region; only polygons are")
    else:
        raise GeoJsonInvalid(f"{str(content)[:40]!r} is no GeoJSON of polygons")


def _name(properties: Any) -> str:
    """Return the class of a feature, as QuPath and other programs write it, or else its name."""
    if not isinstance(properties, dict):
        return ""
    told = properties.get("classification")
    told = told.get("name") if isinstance(told, dict) else told
    return next((each for each in (told, properties.get("name")) if isinstance(each, str)), "")


def _outline(rings: Any, name: str, origin: PixelPoint) -> Outline:
    outer, *holes = [_ring(each, origin) for each in _list(rings, "`coordinates`") or [[]]]
    holes = [each for each in holes if len(set(each)) > 2]
    if not holes or len(set(outer)) < 3:
        return Outline(tuple(outer), name)
    whole, missing = _area(outer), [_area(each) for each in holes]
    if not all(shapely.covers(whole, each) for each in missing):
        raise GeoJsonInvalid("a polygon has a hole that does not lie within it")
    left = shapely.difference(whole, shapely.union_all(missing))
    while isinstance(left, Polygon) and left.interiors:
        shortest = shapely.shortest_line(left.interiors[0], left.exterior)
        left = shapely.difference(left, shapely.buffer(shortest, SLIT_PX / 2, cap_style="square", join_style="mitre"))
    if not isinstance(left, Polygon) or left.is_empty:
        raise GeoJsonInvalid("a polygon's holes leave nothing of it, or several parts: write each as a polygon")
    return Outline(tuple(PixelPoint(x, y) for x, y in left.exterior.coords[:-1]), name)


def _area(ring: list[PixelPoint]) -> shapely.Geometry:
    return shapely.make_valid(Polygon([(each.x, each.y) for each in ring]))


def _ring(places: Any, origin: PixelPoint) -> list[PixelPoint]:
    points = [_point(each, origin) for each in _list(places, "a ring")]
    return points[:-1] if len(points) > 1 and points[0] == points[-1] else points


def _point(place: Any, origin: PixelPoint) -> PixelPoint:
    numbers = _list(place, "a place")[:2]
    sound = len(numbers) == 2 and all(type(each) in {int, float} and abs(each) < FARTHEST_PX for each in numbers)
    if not sound:
        raise GeoJsonInvalid(f"{str(place)[:40]!r} is no place")
    return PixelPoint(origin.x + numbers[0], origin.y + numbers[1])


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise GeoJsonInvalid(f"{what} is no list")
    return value
