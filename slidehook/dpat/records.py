"""Converts an app's Result to the records that DPAT stores."""

from __future__ import annotations

from collections.abc import Callable

from slidehook.dpat.iaapi.models import Item, Label, PatchCollection, PatchContent, Primitive, Style
from slidehook.dpat.iaapi.models.results import Action, Patch, Status, Statuses
from slidehook.dpat.patch_region import with_region
from slidehook.geometry import Frame, PixelPoint
from slidehook.models import Point, Polygon
from slidehook.result import Gallery, Result, Shape

Place = Callable[[PixelPoint], Point]
"""Converts a pixel's position to result coordinates."""
LINE_SIZE = 2
"""The line width of an app's shapes."""


def shown(result: Result, frame: Frame) -> Primitive | PatchCollection:
    """Return the shapes or the gallery of a result; `frame` is the extent of its pixel coordinates."""
    if result.gallery is None:
        return Primitive(content=items_of(result, frame))
    shapes = with_region(result.gallery, result.shapes, frame)
    return PatchCollection(content=gallery_content(result.gallery, shapes, frame.to_result))


def items_of(result: Result, frame: Frame) -> list[Item]:
    """Group a result's shapes and texts by colour, in result coordinates."""
    colours = dict.fromkeys([*(each.colour for each in result.shapes), *(each.colour for each in result.texts)])
    items = []
    for colour in colours:
        shapes = [each for each in result.shapes if each.colour == colour]
        items.append(
            Item(
                style=Style(stroke_style=colour, size=LINE_SIZE),
                polygons=[_line(each, frame.to_result) for each in shapes if each.closed],
                polylines=[_line(each, frame.to_result) for each in shapes if not each.closed],
                labels=[
                    Label(location=frame.to_result(each.at), label=each.words)
                    for each in result.texts
                    if each.colour == colour
                ],
            )
        )
    return items


def gallery_content(gallery: Gallery, shapes: list[Shape], place: Place) -> PatchContent:
    """Return a gallery with its polygons, in result coordinates and with every button released."""
    return PatchContent(
        description=gallery.description,
        polygons=[_line(each, place) for each in shapes],
        patches=[
            Patch(tag=gallery.tags.index(each.tag), position=place(each.at), sort_key_value=each.sort_key)
            for each in gallery.patches
        ],
        tags=gallery.tags,
        patch_size=max(1, round(gallery.patch_size_px)),
        magnification=gallery.magnification,
        # As in every published gallery.
        statuses=Statuses(allow_verify=Status(value=True, message="")),
        actions=[Action(id=each.id, name=each.name, tooltip=each.tooltip) for each in gallery.buttons],
    )


def _line(shape: Shape, place: Place) -> Polygon:
    return Polygon(points=[place(point) for point in shape.points])
