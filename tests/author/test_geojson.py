from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import shapely
from shapely import Polygon
from shapely.geometry import shape

from slidehook import Frame, Gallery, PixelPoint, Result
from slidehook.models import MultiAreaInput
from slidehook.regions import regions_of
from slidehook.result import Shape
from slidehook.results.geojson import GeoJsonInvalid, geojson_of, read_outlines
from slidehook.results.kinds import MANY

A, B, C, D = PixelPoint(0, 0), PixelPoint(10, 0), PixelPoint(10, 8), PixelPoint(0, 8)
SQUARE = [[0, 0], [10, 0], [10, 8], [0, 8], [0, 0]]


def features(result: Result, name: str = "My app") -> list[dict[str, Any]]:
    collection = json.loads(geojson_of(result, name))
    assert collection["type"] == "FeatureCollection"
    assert all(each["type"] == "Feature" for each in collection["features"])
    found: list[dict[str, Any]] = collection["features"]
    return found


def write(folder: Path, content: Any) -> Path:
    path = folder / "region.geojson"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def feature(geometry: Any, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def polygon(*rings: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


# --- writing


def test_a_polygon_is_a_closed_ring_in_level_0_pixels_with_its_class_and_colour() -> None:
    (found,) = features(Result("x").polygon([A, B, C, D], colour="#ff8000"))
    assert found["geometry"] == {"type": "Polygon", "coordinates": [SQUARE]}
    assert found["properties"] == {
        "objectType": "annotation",
        "classification": {"name": "My app", "color": [255, 128, 0]},
    }
    assert shape(found["geometry"]).area == 80


def test_a_named_shape_has_its_name_for_its_class() -> None:
    named, unnamed = features(Result("x").polygon([A, B, C], name="tumour").polyline([A, B]))
    assert named["properties"]["name"] == named["properties"]["classification"]["name"] == "tumour"
    assert unnamed["properties"]["classification"]["name"] == "My app"
    assert unnamed["geometry"] == {"type": "LineString", "coordinates": [[0, 0], [10, 0]]}


def test_one_class_has_one_colour() -> None:
    result = Result("x").polygon([A, B, C], colour="#FF0000").polygon([A, B, D], colour="#00FF00")
    result.polygon([A, C, D], colour="#FF0000")
    classes = [each["properties"]["classification"] for each in features(result)]
    assert [each["name"] for each in classes] == ["My app", "My app #00FF00", "My app"]
    assert len({each["name"]: each["color"] for each in classes}) == 2


def test_a_class_has_no_colon_and_no_line_break() -> None:
    # QuPath makes a class within a class of the one, and refuses the other.
    (found,) = features(Result("x").polygon([A, B, C], name="grade:\n 3"))
    assert found["properties"]["classification"]["name"] == "grade 3"


def test_a_label_is_a_point_with_its_words_for_a_name() -> None:
    (found,) = features(Result("x").label(PixelPoint(1.23456, 2), "5.1 mm²"))
    assert found["geometry"] == {"type": "Point", "coordinates": [1.23, 2]}
    assert found["properties"]["name"] == "5.1 mm²"


def test_a_gallerys_patches_are_detections_with_their_tag_for_a_class() -> None:
    gallery = Gallery(["positive", "negative"]).add("negative", B, sort_key=0.5).add("positive", C)
    found = features(Result("x", gallery=gallery).polygon([A, B, C]))
    assert [each["properties"]["objectType"] for each in found] == ["annotation", "detection", "detection"]
    one, other = (each["properties"] for each in found[1:])
    assert (one["classification"]["name"], other["classification"]["name"]) == ("negative", "positive")
    assert one["classification"]["color"] != other["classification"]["color"]
    assert one["measurements"] == {"Sort key": 0.5}
    assert found[1]["geometry"]["coordinates"] == [10, 0]


def test_very_many_shapes_are_detections() -> None:
    result = Result("x")
    for _ in range(MANY + 1):
        result.polygon([A, B, C])
    assert {each["properties"]["objectType"] for each in features(result)} == {"detection"}


def test_shapes_of_too_few_points_are_still_geojson() -> None:
    result = Result("x", shapes=[Shape((), "#FF0000"), Shape((A,), "#FF0000"), Shape((A, B), "#FF0000")])
    result.shapes.append(Shape((B,), "#FF0000", closed=False))
    one, two, line = (each["geometry"]["coordinates"] for each in features(result))
    assert [len(ring) for ring in (*one, *two)] == [4, 4]
    assert line == [[10, 0], [10, 0]]


# --- reading


@pytest.mark.parametrize(
    "content",
    [
        polygon(SQUARE),
        polygon(SQUARE[:-1]),
        feature(polygon(SQUARE)),
        [feature(polygon(SQUARE))],
        {"type": "FeatureCollection", "features": [feature(polygon(SQUARE))]},
        {"type": "GeometryCollection", "geometries": [polygon(SQUARE)]},
        {"type": "MultiPolygon", "coordinates": [[SQUARE]]},
        feature({**polygon([[*place, 0] for place in SQUARE]), "plane": {"c": -1, "z": 0, "t": 0}}),
    ],
)
def test_a_polygon_is_read_in_every_wrapping(content: Any, tmp_path: Path) -> None:
    (found,) = read_outlines(write(tmp_path, content))
    assert found.points == (A, B, C, D)
    assert found.name == ""


def test_several_polygons_keep_their_order_and_classes(tmp_path: Path) -> None:
    other = [[1, 1], [2, 1], [2, 2], [1, 1]]
    content = [
        feature(polygon(SQUARE), classification={"name": "Tumor", "color": [200, 0, 0]}, name="A"),
        feature({"type": "MultiPolygon", "coordinates": [[SQUARE], [other]]}, name="B"),
        feature(polygon(other), classification="stroma"),
        feature(polygon(other), classification=None, name=5),
        {"type": "Feature", "geometry": polygon(other), "properties": None},
    ]
    assert [each.name for each in read_outlines(write(tmp_path, content))] == ["Tumor", "B", "B", "stroma", "", ""]


def test_a_file_that_begins_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "region.geojson"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(polygon(SQUARE)).encode())
    assert len(read_outlines(path)) == 1


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "result.geojson"
    path.write_bytes(geojson_of(Result("x").polygon([A, B, C], name="tumour"), "My app"))
    (found,) = read_outlines(path)
    assert (found.points, found.name) == ((A, B, C), "tumour")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is no JSON"),
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ('{"type": "Polygon", "coordinates": [[[NaN, 0]]]}', "NaN is no number"),
        ("[" * 400 + "]" * 400, "holds no polygon|without end"),
        ([], "holds no polygon"),
        ({"type": "FeatureCollection", "features": []}, "holds no polygon"),
        ({"type": "FeatureCollection"}, "`features` is no list"),
        (None, "'None' is no GeoJSON"),
        ({}, "no GeoJSON of polygons"),
        ({"type": []}, "no GeoJSON of polygons"),
        (feature(None), "no GeoJSON of polygons"),
        ({"type": "Point", "coordinates": [1, 2]}, "a Point is no region"),
        (feature({"type": "LineString", "coordinates": SQUARE}), "a LineString is no region"),
        ({"type": "Polygon"}, "`coordinates` is no list"),
        (polygon(SQUARE, [[-2, -2], [3, 2], [3, 3], [-2, -2]]), "a hole that does not lie within it"),
        (polygon([[0], [1, 2], [3, 4]]), "is no place"),
        (polygon([["0", 0], [1, 2], [3, 4]]), "is no place"),
        (polygon([[True, 0], [1, 2], [3, 4]]), "is no place"),
        (polygon([[10**400, 0], [1, 2], [3, 4]]), "is no place"),
        (polygon(5), "a ring is no list"),
    ],
)
def test_what_is_no_region_is_refused_in_one_sentence(content: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(GeoJsonInvalid, match=reason) as caught:
        read_outlines(write(tmp_path, content))
    assert "region.geojson" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_one_in_another_encoding_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GeoJsonInvalid, match="can't be read: No such file"):
        read_outlines(tmp_path / "gone.geojson")
    (tmp_path / "latin.geojson").write_bytes(b'{"type": "\xe4"}')
    with pytest.raises(GeoJsonInvalid, match="is no JSON"):
        read_outlines(tmp_path / "latin.geojson")


def region_of(folder: Path, *rings: Any) -> shapely.Polygon:
    """Read a polygon as `slidehook run --region` does, and draw it as DPAT's user would."""
    (outline,) = read_outlines(write(folder, polygon(*rings)))
    points = FRAME.points(outline.points)
    content = {"polygons": [{"points": [{"x": each.x, "y": each.y} for each in points]}]}
    (region,) = regions_of(MultiAreaInput.model_validate({"type": "multiArea", "content": content}), FRAME)
    return region.polygon


FRAME = Frame(100, 80)
BIG = [[10, 10], [90, 10], [90, 70], [10, 70], [10, 10]]


def square(x: float, y: float, side: float) -> list[list[float]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]


@pytest.mark.parametrize("clockwise", [True, False])
@pytest.mark.parametrize(
    "holes",
    [
        [square(20, 20, 10)],
        [square(20, 20, 10), square(50, 45, 20), square(35, 33, 5), square(80, 60, 3)],
        [square(20, 20, 30), square(50, 50, 10)],  # they touch at a corner
        [square(20, 20, 30), square(40, 40, 20)],  # they overlap
        [square(10, 20, 5)],  # it touches the edge
    ],
)
def test_a_polygon_with_holes_is_the_region_without_them(
    holes: list[list[list[float]]], clockwise: bool, tmp_path: Path
) -> None:
    drawn = [each[::-1] if clockwise else each for each in holes]
    expected = Polygon(BIG).difference(shapely.union_all([Polygon(each) for each in holes]))
    found = region_of(tmp_path, BIG, *drawn)
    assert found.symmetric_difference(expected).area < 2


def test_a_hole_without_an_area_is_none(tmp_path: Path) -> None:
    assert region_of(tmp_path, BIG, [[20, 20], [30, 20], [20, 20]]).equals(Polygon(BIG))


def test_holes_that_leave_several_parts_are_refused(tmp_path: Path) -> None:
    across = [[10, 30], [90, 30], [90, 40], [10, 40], [10, 30]]
    for hole in (across, BIG):
        with pytest.raises(GeoJsonInvalid, match="leave nothing of it, or several parts"):
            read_outlines(write(tmp_path, polygon(BIG, hole)))
