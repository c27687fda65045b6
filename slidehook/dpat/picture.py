"""Draws a result over an overview of its slide, as a viewer would."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from slidehook.dpat.iaapi.models import Item, PatchContent, Primitive, ResultRecord
from slidehook.models import Point, Polygon
from slidehook.results.geojson import tag_colour

DEFAULT_COLOUR = "#0078D4"
_FONT_PART = 1 / 32
"""A label's height as a part of the picture's width."""
_LEGEND_PART = 1 / 64
"""The same of a gallery's legend."""
_LINE_PART = 1 / 1024
"""A line's thickness, for each unit of its style's size."""
_PATCH_PARTS = (1 / 256, 1 / 64)
"""The side of a patch's square: of many patches, and of few."""
_FEW = 50
"""So many patches have the largest squares; of more they shrink."""


def draw_result(overview: Image.Image, result: ResultRecord, drawn: Sequence[Sequence[Point]] = ()) -> Image.Image:
    """Give a copy of `overview` (the whole slide, any size) with the result's shapes and labels on it.

    Of a gallery each patch is a square round its place, in its tag's colour, and a legend counts the tags; the
    squares do not tell how large the patches are. `drawn`: the corners of each region that the user drew, which
    become thin black lines.
    """
    picture = overview.convert("RGB")
    draw = ImageDraw.Draw(picture)
    for corners in drawn:
        _draw_polygon(draw, Polygon(points=list(corners)), "black", _line(1, picture.width), picture.width)
    if isinstance(result.data.result, Primitive):
        for item in result.data.result.content:
            _draw_item(draw, item, picture.width)
    else:
        _draw_gallery(draw, result.data.result.content, picture.width)
    return picture


def _draw_item(draw: ImageDraw.ImageDraw, item: Item, width: int) -> None:
    colour = (item.style.stroke_style if item.style else None) or DEFAULT_COLOUR
    line = _line(item.style.size if item.style and item.style.size else 2, width)
    for polygon in item.polygons:
        _draw_polygon(draw, polygon, colour, line, width)
    for polyline in item.polylines:
        draw.line([_pixel(each, width) for each in polyline.points], fill=colour, width=line, joint="curve")
    for label in item.labels:
        x, y = _pixel(label.location, width)
        _write(draw, (x + 2 * line, y + 2 * line), label.label, colour, max(12, round(width * _FONT_PART)))


def _draw_gallery(draw: ImageDraw.ImageDraw, content: PatchContent, width: int) -> None:
    line = _line(2, width)
    for polygon in content.polygons or []:
        _draw_polygon(draw, polygon, DEFAULT_COLOUR, line, width)
    least, most = _PATCH_PARTS
    reach = width * max(least, min(most, most * (_FEW / max(1, len(content.patches))) ** 0.5)) / 2
    counts = [0] * len(content.tags)
    for patch in content.patches:
        x, y = _pixel(patch.position, width)
        # With a white rim, to be seen on tissue of any colour.
        for grown, colour in ((line / 2, "white"), (0, tag_colour(patch.tag))):
            side = reach + grown
            draw.rectangle((x - side, y - side, x + side, y + side), outline=colour, width=line)
        if 0 <= patch.tag < len(counts):
            counts[patch.tag] += 1
    size = max(12, round(width * _LEGEND_PART))
    for place, (tag, count) in enumerate(zip(content.tags, counts, strict=True)):
        _write(draw, (size, size + place * 1.5 * size), f"{tag}: {count}", tag_colour(place), size)


def _draw_polygon(draw: ImageDraw.ImageDraw, polygon: Polygon, colour: str, line: int, width: int) -> None:
    corners = [_pixel(each, width) for each in polygon.points]
    draw.line([*corners, *corners[:2]], fill=colour, width=line, joint="curve")


def _write(draw: ImageDraw.ImageDraw, at: tuple[float, float], words: str, colour: str, size: int) -> None:
    font = ImageFont.load_default(size)
    draw.rectangle(draw.textbbox(at, words, font=font), fill="white")
    draw.text(at, words, fill=colour, font=font)


def _line(size: float, width: int) -> int:
    return max(2, round(size * width * _LINE_PART))


def _pixel(point: Point, width: int) -> tuple[float, float]:
    return point.x * width, point.y * width  # both axes are divided by the width
