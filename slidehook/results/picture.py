"""Draws a result over an overview of its slide, as a viewer would."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from slidehook.geometry import Frame, PixelPoint
from slidehook.result import Result
from slidehook.results import kinds
from slidehook.results.canvas import Canvas


def draw_result(
    overview: Image.Image, result: Result, frame: Frame, drawn: Sequence[Sequence[PixelPoint]] = ()
) -> Image.Image:
    """Return an RGB copy of `overview` (the whole slide, any size) with the result on it.

    `frame` is the slide's extent. `drawn`: the corners of each region that the user drew, in level-0 pixels; they
    become thin black lines. A gallery's patches are squares in their tag's colour, not of the patches' real size.
    """
    picture = overview.convert("RGB")
    canvas = Canvas(picture, frame)
    for corners in drawn:
        canvas.line(corners, "black", closed=True, size=1)
    for kind in kinds.KINDS:
        kind.draw(result, canvas)
    return picture
