from __future__ import annotations

from slidehook import Button, Gallery, PixelPoint, Result
from slidehook.dpat.iaapi.models import PatchCollection, Primitive
from slidehook.dpat.records import draft_of
from slidehook.geometry import Frame

A, B, C = PixelPoint(0, 0), PixelPoint(2000, 0), PixelPoint(2000, 1000)


def test_shapes_are_sorted_by_colour_so_that_each_style_is_sent_once(frame: Frame) -> None:
    result = Result("x").polygon([A, B, C], colour="#111111").polyline([A, B], colour="#222222")
    result.polygon([C, B, A], colour="#111111").label(C, "t", colour="#333333")
    items = draft_of(result, frame).items()
    colours = [each.style.stroke_style for each in items if each.style]
    assert colours == ["#111111", "#222222", "#333333"]
    assert [(len(each.polygons), len(each.polylines), len(each.labels)) for each in items] == [
        (2, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
    ]


def test_a_result_without_a_gallery_is_shapes_on_the_slide(frame: Frame) -> None:
    assert draft_of(Result("x"), frame).shown() == Primitive(content=[])


def test_a_gallery_is_sent_as_the_published_ones_are(frame: Frame) -> None:
    gallery = Gallery(["positive", "negative"], patch_size_px=64, magnification=10, description="Nuclei")
    gallery.add("negative", PixelPoint(1000, 500), sort_key=2.5).add("positive", B)
    gallery.buttons.append(Button("recount", "Recount", "Count anew", pressed=True))
    found = draft_of(Result("x", gallery=gallery).polygon([A, B, C], colour="#111111"), frame).shown()
    assert isinstance(found, PatchCollection)
    assert found.to_wire() == {
        "type": "patchCollection",
        "content": {
            "description": "Nuclei",
            "polygons": [{"points": [{"x": 0, "y": 0}, {"x": 1, "y": 0}, {"x": 1, "y": 0.5}]}],
            "patches": [
                {"tag": 1, "position": {"x": 0.5, "y": 0.25}, "sortKeyValue": 2.5},
                {"tag": 0, "position": {"x": 1, "y": 0}, "sortKeyValue": 0},
            ],
            "tags": ["positive", "negative"],
            "patchSize": 64,
            "magnification": 10,
            "statuses": {"allowVerify": {"value": True, "message": ""}},
            "actions": [{"id": "recount", "state": 0, "name": "Recount", "tooltip": "Count anew"}],
        },
    }


def test_whole_numbers_of_pixels_are_sent_as_such_however_they_were_counted(frame: Frame) -> None:
    found = draft_of(Result("x", gallery=Gallery(["a"], patch_size_px=64.0, magnification=2.5)), frame).shown()
    assert isinstance(found, PatchCollection)
    sizes = found.content.patch_size, found.content.magnification
    assert [(type(each), each) for each in sizes] == [(int, 64), (float, 2.5)]
