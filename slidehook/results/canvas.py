"""A picture of the whole slide that results are drawn on, in level-0 pixels of the slide."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from slidehook.geometry import Frame, PixelPoint

_FONT_PART, _LEGEND_PART = 1 / 32, 1 / 64
"""The height of a label and of a legend, as a part of the picture's width."""
_LEAST_FONT_PX = 12
_LINE_PART = 1 / 1024
"""A line's thickness as a part of the picture's width, for each unit of its size."""


class Canvas:
    """Draws on `picture`, an RGB picture of any size that shows the whole slide; `frame` is the slide's extent."""

    def __init__(self, picture: Image.Image, frame: Frame) -> None:
        self.width = picture.width
        """The picture's width in its own pixels."""
        self._frame = frame
        self._draw = ImageDraw.Draw(picture)

    def at(self, point: PixelPoint) -> tuple[float, float]:
        """Return a point's place in the picture."""
        # Both axes have the same scale.
        return point.x / self._frame.width * self.width, point.y / self._frame.width * self.width

    def thickness(self, size: float) -> int:
        """Return the thickness in the picture of a line of this size."""
        return max(2, round(size * self.width * _LINE_PART))

    def line(self, points: Sequence[PixelPoint], colour: str, *, closed: bool, size: float = 2) -> None:
        """Draw a line, back to its first point if it is `closed`."""
        places = [self.at(each) for each in points]
        if closed:
            places += places[:2]
        self._draw.line(places, fill=colour, width=self.thickness(size), joint="curve")

    def square(self, centre: PixelPoint, side: float, colour: str) -> None:
        """Draw the outline of a square, `side` pixels of the picture wide, with a white rim."""
        x, y = self.at(centre)
        line = self.thickness(2)
        # The rim makes it visible on tissue of any colour.
        for grown, fill in ((line / 2, "white"), (0, colour)):
            reach = side / 2 + grown
            self._draw.rectangle((x - reach, y - reach, x + reach, y + reach), outline=fill, width=line)

    def label(self, at: PixelPoint, words: str, colour: str) -> None:
        """Write a text below and to the right of a point."""
        x, y = self.at(at)
        gap = 2 * self.thickness(2)
        self._write((x + gap, y + gap), words, colour, max(_LEAST_FONT_PX, round(self.width * _FONT_PART)))

    def legend(self, lines: Sequence[tuple[str, str]]) -> None:
        """Write lines of text, each with its colour, in the upper left corner."""
        size = max(_LEAST_FONT_PX, round(self.width * _LEGEND_PART))
        for number, (words, colour) in enumerate(lines):
            self._write((size, size + number * 1.5 * size), words, colour, size)

    def _write(self, at: tuple[float, float], words: str, colour: str, size: int) -> None:
        font = ImageFont.load_default(size)
        self._draw.rectangle(self._draw.textbbox(at, words, font=font), fill="white")
        self._draw.text(at, words, fill=colour, font=font)
