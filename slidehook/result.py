"""What an app gives back, and how it tells how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from slidehook.geometry import PixelPoint


class Progress(Protocol):
    """Called by an app to tell the user how far it is; cheap, so call it as often as it is true."""

    def __call__(self, percent: float, text: str = "") -> None:
        """Show `percent` (0…100, clipped) and a few words on the slide."""


@dataclass(frozen=True)
class Shape:
    """One polygon or line of a result: `points` in level-0 pixels, `colour` as `#RRGGBB`."""

    points: tuple[PixelPoint, ...]
    colour: str
    closed: bool = True


@dataclass(frozen=True)
class Text:
    """A label: its upper left corner in level-0 pixels, and the words."""

    at: PixelPoint
    words: str
    colour: str


@dataclass
class Result:
    """What an app found: a line of text, a table, and shapes on the slide.

    `text` stands in DPAT's annotation list; `properties` is the table beside it (text or numbers).
    """

    text: str
    properties: dict[str, str | int | float] = field(default_factory=dict)
    shapes: list[Shape] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)

    def polygon(self, points: Sequence[PixelPoint], *, colour: str = "#0078D4") -> Result:
        """Add a closed polygon of at least 3 points; raises ValueError on fewer."""
        if len(points) < 3:
            raise ValueError(f"a polygon needs 3 points, not {len(points)}")
        self.shapes.append(Shape(tuple(points), colour))
        return self

    def polyline(self, points: Sequence[PixelPoint], *, colour: str = "#0078D4") -> Result:
        """Add an open line of at least 2 points; raises ValueError on fewer."""
        if len(points) < 2:
            raise ValueError(f"a line needs 2 points, not {len(points)}")
        self.shapes.append(Shape(tuple(points), colour, closed=False))
        return self

    def label(self, at: PixelPoint, words: str, *, colour: str = "#0078D4") -> Result:
        """Add a text whose upper left corner is at `at`."""
        self.texts.append(Text(at, words, colour))
        return self
