"""The kinds of finding in a Result as DPAT stores them: how each is published, and read back when a user changes it.

`KINDS` has one entry for each field of `slidehook.result.Result`. `slidehook.results.kinds` has what does not depend
on DPAT.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Literal

from slidehook.dpat.iaapi.models import (
    Item,
    Label,
    PatchCollection,
    PatchContent,
    Primitive,
    StoredResult,
    Style,
)
from slidehook.dpat.iaapi.models.results import Action, Status, Statuses
from slidehook.dpat.iaapi.models.results import Patch as PatchRecord
from slidehook.dpat.marks import STATUS
from slidehook.dpat.patch_region import with_region, without_region
from slidehook.errors import BadRequest
from slidehook.geometry import Frame, PixelPoint
from slidehook.models import Point, Polygon
from slidehook.result import BLUE, Button, Gallery, Patch, Result, Shape, Text, is_colour

Place = Callable[[PixelPoint], Point]
"""Converts a pixel's position to result coordinates."""
Row = str | int | float
LINE_SIZE = 2
"""The line width of an app's shapes."""
FAILED = "update failed"
"""How the status row begins after a failed update."""
OUTDATED = " (before the change)"
"""The suffix of the names of values that are outdated."""
ItemList = Literal["polygons", "polylines", "labels"]
ITEM_LISTS: tuple[ItemList, ...] = ("polygons", "polylines", "labels")
"""The lists of an `Item`: all that DPAT draws on a slide beside galleries."""


class Draft:
    """A record in the making; `frame` is the extent of the result's pixel coordinates."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.text = ""
        """For `display_result`."""
        self.rows: dict[str, Row | None] = {}
        """For `display_properties`."""
        self.gallery: PatchContent | None = None
        self._styles: dict[str, dict[ItemList, list[Any]]] = {}

    def add(self, colour: str, items: ItemList, record: Polygon | Label) -> None:
        """Add something to draw."""
        self._styles.setdefault(colour, {name: [] for name in ITEM_LISTS})[items].append(record)

    def items(self) -> list[Item]:
        """Return what is drawn, one item for each colour."""
        return [
            Item(style=Style(stroke_style=colour, size=LINE_SIZE), **lists) for colour, lists in self._styles.items()
        ]

    def shown(self) -> Primitive | PatchCollection:
        """Return the gallery, or else the shapes."""
        return Primitive(content=self.items()) if self.gallery is None else PatchCollection(content=self.gallery)


class DpatKind(ABC):
    """One field of a Result."""

    field: ClassVar[str]
    """The field's name."""

    @abstractmethod
    def publish(self, result: Result, draft: Draft) -> None:
        """Add the field's value to the draft."""

    @abstractmethod
    def read_back(self, stored: StoredResult, result: Result, frame: Frame) -> None:
        """Set the field of `result` from a stored result; raises BadRequest if it is invalid."""


class ItemKind(DpatKind):
    """A list of values that DPAT draws on the slide, each as one polygon, line or label."""

    def values(self, result: Result) -> Sequence[Any]:
        """Return the field's values, which can be compared and hashed."""
        found: Sequence[Any] = getattr(result, self.field)
        return found

    @abstractmethod
    def to_item(self, value: Any, place: Place) -> tuple[str, ItemList, Polygon | Label]:
        """Return a value's colour, the list of an Item to which it belongs, and its record."""

    @abstractmethod
    def from_item(self, items: ItemList, record: Any, colour: str, frame: Frame) -> Any | None:
        """Return the value of a record in the list `items`; None if the record is of another kind."""

    def publish(self, result: Result, draft: Draft) -> None:
        """Add every value, unless a gallery takes the place of all that is drawn."""
        if result.gallery is None:
            for value in self.values(result):
                draft.add(*self.to_item(value, draft.frame.to_result))

    def read_back(self, stored: StoredResult, result: Result, frame: Frame) -> None:
        """Set the values of this kind, in the stored order."""
        shown = stored.data.result
        if isinstance(shown, Primitive):
            values = (value for item in shown.content for _, _, kind, value in read_item(item, frame) if kind is self)
            setattr(result, self.field, list(values))


class _Text(DpatKind):
    """The text in DPAT's annotation list."""

    field = "text"

    def publish(self, result: Result, draft: Draft) -> None:
        draft.text = result.text

    def read_back(self, stored: StoredResult, result: Result, frame: Frame) -> None:
        result.text = stored.display_result


class _Properties(DpatKind):
    """The table beside the text."""

    field = "properties"

    def publish(self, result: Result, draft: Draft) -> None:
        draft.rows |= result.properties

    def read_back(self, stored: StoredResult, result: Result, frame: Frame) -> None:
        result.properties = app_rows(stored)


class _Shapes(ItemKind):
    """Polygons and lines. Beside a gallery they are a part of it: see `_Gallery`."""

    field = "shapes"

    def to_item(self, value: Shape, place: Place) -> tuple[str, ItemList, Polygon | Label]:
        return value.colour, "polygons" if value.closed else "polylines", _outline(value, place)

    def from_item(self, items: ItemList, record: Any, colour: str, frame: Frame) -> Shape | None:
        return None if items == "labels" else _shape(record, colour, frame, closed=items == "polygons")


class _Labels(ItemKind):
    """Texts on the slide."""

    field = "texts"

    def to_item(self, value: Text, place: Place) -> tuple[str, ItemList, Polygon | Label]:
        return value.colour, "labels", Label(location=place(value.at), label=value.words)

    def from_item(self, items: ItemList, record: Any, colour: str, frame: Frame) -> Text | None:
        return Text(frame.to_pixel(record.location), record.label, colour) if items == "labels" else None


class _Gallery(DpatKind):
    """A gallery with the polygons around its patches, which DPAT requires."""

    field = "gallery"

    def publish(self, result: Result, draft: Draft) -> None:
        if result.gallery is not None:
            shapes = with_region(result.gallery, result.shapes, draft.frame)
            draft.gallery = gallery_content(result.gallery, shapes, draft.frame.to_result)

    def read_back(self, stored: StoredResult, result: Result, frame: Frame) -> None:
        shown = stored.data.result
        if not isinstance(shown, PatchCollection):
            return
        content = shown.content
        gallery = Gallery(
            [],
            [_patch(number, content, frame) for number in range(len(content.patches))],
            64 if content.patch_size is None else content.patch_size,
            20 if content.magnification is None else content.magnification,
            content.description or "",
            [Button(each.id, each.name or "", each.tooltip or "", each.state == 1) for each in content.actions or []],
        )
        gallery.tags = list(content.tags)  # assigned afterwards: no limit applies to stored tags
        polygons = [_shape(each, BLUE, frame, closed=True) for each in content.polygons or []]
        result.gallery, result.shapes = gallery, without_region(gallery, polygons, frame)


class _Quality(DpatKind):
    """The slide's quality, which is not a part of the stored result: `slidehook.dpat.quality` sets it afterwards."""

    field = "quality"

    def publish(self, result: Result, draft: Draft) -> None:
        """Do nothing."""

    def read_back(self, stored: StoredResult, result: Result, frame: Frame) -> None:
        """Do nothing."""


KINDS: tuple[DpatKind, ...] = (
    _Text(), _Properties(), _Shapes(), _Labels(), _Gallery(), _Quality(),
)  # fmt: skip
"""One entry for each field of a Result. Of several `ItemKind`s, the first that recognizes a record reads it."""


def item_kinds() -> Iterator[ItemKind]:
    """Return the kinds that DPAT draws on the slide."""
    return (kind for kind in KINDS if isinstance(kind, ItemKind))


def read_item(item: Item, frame: Frame) -> Iterator[tuple[ItemList, Polygon | Label, ItemKind, Any]]:
    """Return what an item draws: the list, the record in it, and the record's kind and value."""
    colour = _colour(item)
    for name in ITEM_LISTS:
        records: Iterable[Polygon | Label] = getattr(item, name)
        for record in records:
            for kind in item_kinds():
                value = kind.from_item(name, record, colour, frame)
                if value is not None:
                    yield name, record, kind, value
                    break


def app_rows(stored: StoredResult) -> dict[str, Row]:
    """Return the app's table, without the marks of a failed update."""
    rows = {name: value for name, value in stored.display_properties.items() if value is not None}
    if str(rows.get(STATUS, "")).startswith(FAILED):
        del rows[STATUS]
        return {name.removesuffix(OUTDATED): value for name, value in rows.items()}
    return rows


def gallery_content(gallery: Gallery, shapes: list[Shape], place: Place) -> PatchContent:
    """Return a gallery with its polygons, in result coordinates and with every button released."""
    return PatchContent(
        description=gallery.description,
        polygons=[_outline(each, place) for each in shapes],
        patches=[
            PatchRecord(tag=gallery.tags.index(each.tag), position=place(each.at), sort_key_value=each.sort_key)
            for each in gallery.patches
        ],
        tags=gallery.tags,
        patch_size=max(1, round(gallery.patch_size_px)),
        magnification=gallery.magnification,
        # As in every published gallery.
        statuses=Statuses(allow_verify=Status(value=True, message="")),
        actions=[Action(id=each.id, name=each.name, tooltip=each.tooltip) for each in gallery.buttons],
    )


def _outline(shape: Shape, place: Place) -> Polygon:
    return Polygon(points=[place(point) for point in shape.points])


def _shape(line: Polygon, colour: str, frame: Frame, *, closed: bool) -> Shape:
    return Shape(tuple(frame.to_pixel(point) for point in line.points), colour, closed)


def _colour(item: Item) -> str:
    colour = item.style.stroke_style if item.style else None
    return colour if colour is not None and is_colour(colour) else BLUE


def _patch(number: int, content: PatchContent, frame: Frame) -> Patch:
    found = content.patches[number]
    if not 0 <= found.tag < len(content.tags):
        raise BadRequest(f"Patch {number} has the tag {found.tag}, but there are {len(content.tags)} tags.")
    return Patch(content.tags[found.tag], frame.to_pixel(found.position), found.sort_key_value)
