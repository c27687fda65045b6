"""Results as GeoJSON that QuPath opens, and regions out of GeoJSON that QuPath wrote; both in level-0 pixels.

QuPath shows only the part of a slide that its file states as scanned (`slidehook.pixels.bounds`), and counts from its
corner. `origin` is that corner in pixels of the whole slide.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import shapely
from shapely import Polygon

from slidehook.errors import SlidehookError
from slidehook.geometry import PixelPoint
from slidehook.result import Patch, Result, Shape, Text

CORNER = PixelPoint(0, 0)
MANY = 1000
"""More shapes than this become detections, which QuPath keeps and draws by the hundred thousand."""
DECIMALS = 2
"""What places are rounded to, as QuPath does itself."""
FARTHEST_PX = 1e12
"""How far from the slide's corner a place may be that is read, in level-0 pixels."""
SLIT_PX = 0.02
"""How wide the slit is that joins a hole to the outside, in level-0 pixels."""
PALETTE = ("#D13438", "#0078D4", "#107C10", "#FF8C00", "#881798", "#00B7C3", "#986F0B", "#E3008C")
"""The colours of a gallery's tags, in their order: DPAT gives them none. Positive, the usual first, is red."""


class GeoJsonInvalid(SlidehookError):
    """A file is no GeoJSON, or holds something else than polygons."""


@dataclass(frozen=True)
class Outline:
    """A polygon of a GeoJSON file: its corners, the first not repeated, and its class or name (empty: none).

    Its holes are cut open by a slit of `SLIT_PX`, since DPAT's regions have an outer line only.
    """

    points: tuple[PixelPoint, ...]
    name: str = ""


def tag_colour(place: int) -> str:
    """Give the colour of a gallery's tag by its place among the tags, as `#RRGGBB`."""
    return PALETTE[place % len(PALETTE)]


def geojson_of(result: Result, name: str, *, origin: PixelPoint = CORNER) -> bytes:
    """Give a result as a GeoJSON FeatureCollection: shapes, labels as points, a gallery's patches as points.

    Shapes without a name of their own have the class `name`, the app's. Patches have their tag for a class. Places
    count from `origin`.
    """
    result = _from_origin(result, origin)
    kind = "annotation" if len(result.shapes) <= MANY else "detection"
    first: dict[str, str] = {}
    features = [
        _shape(each, kind, _class(each.name or name, each.colour, first)) for each in result.shapes if each.points
    ]
    features += [_label(each, _class(name, each.colour, first)) for each in result.texts]
    if result.gallery is not None:
        tags = result.gallery.tags
        classes = {tag: _class(tag, tag_colour(place), {}) for place, tag in enumerate(tags)}
        features += [_patch(each, classes[each.tag]) for each in result.gallery.patches]
    collection = {"type": "FeatureCollection", "features": features}
    return json.dumps(collection, ensure_ascii=False, separators=(",", ":")).encode()


def _from_origin(result: Result, origin: PixelPoint) -> Result:
    if origin == CORNER:
        return result

    def moved(at: PixelPoint) -> PixelPoint:
        return PixelPoint(at.x - origin.x, at.y - origin.y)

    gallery = result.gallery
    if gallery is not None:
        gallery = replace(gallery, patches=[replace(each, at=moved(each.at)) for each in gallery.patches])
    return replace(
        result,
        shapes=[replace(each, points=tuple(map(moved, each.points))) for each in result.shapes],
        texts=[replace(each, at=moved(each.at)) for each in result.texts],
        gallery=gallery,
    )


def _class(name: str, colour: str, first: dict[str, str]) -> dict[str, Any]:
    """Give a QuPath class; as one class has one colour, a second one of the same name bears its colour's name."""
    # QuPath reads a colon as "a class within a class", and takes no line breaks.
    plain = " ".join(name.replace(":", " ").split()) or "result"
    if first.setdefault(plain, colour) != colour:
        plain = f"{plain} {colour}"
    return {"name": plain, "color": [int(colour[at : at + 2], 16) for at in (1, 3, 5)]}


def _feature(geometry: dict[str, Any], kind: str, of_class: dict[str, Any], **more: Any) -> dict[str, Any]:
    properties = {"objectType": kind, "classification": of_class, **more}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _shape(shape: Shape, kind: str, of_class: dict[str, Any]) -> dict[str, Any]:
    places = [_place(point) for point in shape.points]
    # A reader may refuse a whole file for one ring of fewer than four places, or a line of one.
    places += [places[-1]] * ((3 if shape.closed else 2) - len(places))
    more = {"name": shape.name} if shape.name else {}
    if shape.closed:
        return _feature({"type": "Polygon", "coordinates": [[*places, places[0]]]}, kind, of_class, **more)
    return _feature({"type": "LineString", "coordinates": places}, kind, of_class, **more)


def _label(text: Text, of_class: dict[str, Any]) -> dict[str, Any]:
    return _feature({"type": "Point", "coordinates": _place(text.at)}, "annotation", of_class, name=text.words)


def _patch(patch: Patch, of_class: dict[str, Any]) -> dict[str, Any]:
    measured = {} if isinstance(patch.sort_key, str | None) else {"measurements": {"Sort key": patch.sort_key}}
    return _feature({"type": "Point", "coordinates": _place(patch.at)}, "detection", of_class, **measured)


def _place(point: PixelPoint) -> list[float]:
    return [round(point.x, DECIMALS), round(point.y, DECIMALS)]


# --- reading


def read_outlines(path: Path, *, origin: PixelPoint = CORNER) -> list[Outline]:
    """Read the polygons of a GeoJSON file (level-0 pixels from `origin`), in its order; a MultiPolygon is several.

    Takes a geometry, a Feature, a FeatureCollection or a list of them, as QuPath exports them. Raises GeoJsonInvalid
    with one sentence on what is no GeoJSON, holds none or something else than polygons, or a hole beside its polygon.
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
    """Give the class of a feature, as QuPath and others write it, else its name."""
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
