"""What an app returns, and how it reports progress."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from shapely import Polygon

from slidehook.geometry import PixelPoint

BLUE = "#0078D4"
MOST_TAGS = 5
"""The largest number of a gallery's tags."""
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")


class Progress(Protocol):
    """Called by an app to report progress to the user; it is cheap, so call it often."""

    def __call__(self, percent: float, text: str = "") -> None:
        """Show `percent` (0…100, clipped) and a few words on the slide."""


class Quality(StrEnum):
    """A slide's quality in DPAT's quality control (IA-API 1.10)."""

    OK = "QualityOk"
    REJECTED = "Rejected"
    NOT_SET = "NotSet"


@dataclass(frozen=True)
class Shape:
    """One polygon or line of a result: `points` in level-0 pixels, `colour` as `#RRGGBB`.

    `name`: the class of the object, such as "tumour"; it is in the GeoJSON only, because DPAT's shapes have no names.
    """

    points: tuple[PixelPoint, ...]
    colour: str
    closed: bool = True
    name: str = field(default="", compare=False)


@dataclass(frozen=True)
class Text:
    """A label: its upper left corner in level-0 pixels, and its text."""

    at: PixelPoint
    words: str
    colour: str


@dataclass(frozen=True)
class Patch:
    """One patch of a gallery: its tag, and its position in level-0 pixels.

    Patches of one tag are shown by ascending `sort_key`: a number, but other apps' results may have a text or None.
    """

    tag: str
    at: PixelPoint
    sort_key: float | str | None = 0.0


@dataclass(frozen=True)
class Button:
    """A button below a gallery. `pressed`: whether the user pressed it; it is always released when sent to DPAT."""

    id: str
    name: str
    tooltip: str = ""
    pressed: bool = False


@dataclass
class Gallery:
    """Small pictures of the slide that the user can move from one tag to another, and buttons below them.

    DPAT cuts each picture out of the slide: `patch_size_px` wide and high, in pixels at `magnification` (10, 20, …).
    DPAT expects polygons around the patches: if the result's own omit a patch, a rectangle around all is added.
    Raises ValueError on more than `MOST_TAGS` tags, which DPAT does not show, and TypeError when `tags` is a text.
    """

    tags: list[str]
    patches: list[Patch] = field(default_factory=list)
    patch_size_px: float = 64
    magnification: float = 20
    description: str = ""
    buttons: list[Button] = field(default_factory=list)

    def __post_init__(self) -> None:
        tags: object = self.tags
        if isinstance(tags, str):
            raise TypeError(f"a gallery's tags are a list of texts, not the one text {tags!r}")
        if len(self.tags) > MOST_TAGS:
            raise ValueError(f"a gallery has at most {MOST_TAGS} tags, not {len(self.tags)}: DPAT shows no more")

    def add(self, tag: str, at: PixelPoint, *, sort_key: float = 0.0) -> Gallery:
        """Add a patch; raises ValueError when the gallery has no such tag."""
        if tag not in self.tags:
            raise ValueError(f"the gallery's tags are {self.tags}; {tag!r} is none of them")
        self.patches.append(Patch(tag, at, sort_key))
        return self

    def counts(self) -> dict[str, int]:
        """Count the patches of each tag, in the order of the tags."""
        found = Counter(patch.tag for patch in self.patches)
        return {tag: found[tag] for tag in self.tags}


@dataclass
class Result:
    """What an app found: a line of text, a table, and shapes on the slide or a gallery.

    `text` is shown in DPAT's annotation list; `properties` is the table beside it (text or numbers). With a
    `gallery`, DPAT shows polygons in a colour that it chooses, but neither lines nor labels. `quality`, if set, is
    stored in the slide's quality control if DPAT has one.
    """

    text: str
    properties: dict[str, str | int | float] = field(default_factory=dict)
    shapes: list[Shape] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    gallery: Gallery | None = None
    quality: Quality | None = None

    @property
    def pressed(self) -> tuple[str, ...]:
        """The ids of the buttons that the user has pressed; for `App.on_modify`."""
        return tuple(each.id for each in self.gallery.buttons if each.pressed) if self.gallery else ()

    def polygon(self, points: Sequence[PixelPoint], *, colour: str = BLUE, name: str = "") -> Result:
        """Add a closed polygon of at least 3 points; raises ValueError on fewer, and on an invalid colour.

        `name`: the class of the object, such as "tumour"; in the GeoJSON only, because DPAT's shapes have no names.
        """
        if len(points) < 3:
            raise ValueError(f"a polygon needs 3 points, not {len(points)}")
        self.shapes.append(Shape(tuple(points), checked_colour(colour), name=name))
        return self

    def outline(self, area: Polygon, *, colour: str = BLUE, name: str = "") -> Result:
        """Add the outline of an area in level-0 pixels, and of each of its holes; raises as `polygon` does.

        DPAT has no holes: each becomes a separate polygon whose name says that it is a hole.
        """
        names = [name, *[f"hole in {name}" if name else "hole"] * len(area.interiors)]
        for ring, of_ring in zip((area.exterior, *area.interiors), names, strict=True):
            self.polygon([PixelPoint(x, y) for x, y, *_ in ring.coords[:-1]], colour=colour, name=of_ring)
        return self

    def polyline(self, points: Sequence[PixelPoint], *, colour: str = BLUE, name: str = "") -> Result:
        """Add an open line of at least 2 points; raises ValueError on fewer, and on an invalid colour.

        `name`: see `polygon`.
        """
        if len(points) < 2:
            raise ValueError(f"a line needs 2 points, not {len(points)}")
        self.shapes.append(Shape(tuple(points), checked_colour(colour), closed=False, name=name))
        return self

    def label(self, at: PixelPoint, words: str, *, colour: str = BLUE) -> Result:
        """Add a text whose upper left corner is at `at`; raises ValueError on an invalid colour."""
        self.texts.append(Text(at, words, checked_colour(colour)))
        return self


def is_colour(colour: str) -> bool:
    """Return whether a colour is in a form that DPAT accepts."""
    return isinstance(colour, str) and _COLOUR.fullmatch(colour) is not None


def checked_colour(colour: str) -> str:
    """Return `colour` if it is in a form that DPAT accepts; raises ValueError otherwise."""
    if not is_colour(colour):
        raise ValueError(f"a colour is written #RRGGBB, not {colour!r}")
    return colour
