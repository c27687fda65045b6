"""Draws a result over an overview of its slide, as a viewer would."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from slidehook.iaapi.models import Item, Point, Primitive, ResultRecord

DEFAULT_COLOUR = "#0078D4"
_FONT_PART = 1 / 32
"""A label's height as a part of the picture's width."""


def draw_result(overview: Image.Image, result: ResultRecord) -> Image.Image:
    """Give a copy of `overview` (the whole slide, any size) with the result's shapes and labels on it."""
    picture = overview.convert("RGB")
    if isinstance(result.data.result, Primitive):
        draw = ImageDraw.Draw(picture)
        for item in result.data.result.content:
            _draw_item(draw, item, picture.width)
    return picture


def _draw_item(draw: ImageDraw.ImageDraw, item: Item, width: int) -> None:
    colour = (item.style.stroke_style if item.style else None) or DEFAULT_COLOUR
    line = max(2, round((item.style.size if item.style and item.style.size else 2) * width / 1024))

    def pixel(point: Point) -> tuple[float, float]:
        return point.x * width, point.y * width  # both axes are divided by the width

    for polygon in item.polygons:
        corners = [pixel(each) for each in polygon.points]
        draw.line([*corners, *corners[:2]], fill=colour, width=line, joint="curve")
    for polyline in item.polylines:
        draw.line([pixel(each) for each in polyline.points], fill=colour, width=line, joint="curve")
    font = ImageFont.load_default(max(12, round(width * _FONT_PART)))
    for label in item.labels:
        x, y = pixel(label.location)
        at = (x + 2 * line, y + 2 * line)
        draw.rectangle(draw.textbbox(at, label.label, font=font), fill="white")
        draw.text(at, label.label, fill=colour, font=font)
