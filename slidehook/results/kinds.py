"""The kinds of finding in a Result: how each is cleaned, cut to an app's limits, written as GeoJSON and drawn.

`KINDS` has one entry for each field of `slidehook.result.Result`. How a system stores and reads back each kind is the
system's own table: see `slidehook.dpat.kinds`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from slidehook.result import BLUE, Button, Gallery, Patch, Quality, Result, Shape, Text, checked_colour
from slidehook.results.canvas import Canvas
from slidehook.results.checks import above_0, all_of, checked_point, checked_text, checked_value, copied
from slidehook.results.colours import tag_colour
from slidehook.results.features import Feature, FeatureWriter

if TYPE_CHECKING:
    from slidehook.app import App

MANY = 1000
"""More shapes than this become detections, of which QuPath can draw hundreds of thousands."""
PATCHES_SHOWN = "Patches shown"
"""The row of the table that states how many patches were left out."""
_PATCH_PARTS = (1 / 256, 1 / 64)
"""The side of a patch's square as a part of the picture's width: with very many patches, and with few."""
_FEW = 50
"""Up to so many patches have the largest squares."""


class Kind(ABC):
    """One field of a Result. A kind that has no limit, or nothing on the slide, keeps the defaults."""

    field: ClassVar[str]
    """The field's name."""

    @abstractmethod
    def clean(self, result: Result) -> Any:
        """Return a plain copy of the field's value; see `slidehook.results.checks` for the errors."""

    def cut(self, result: Result, app: App | type[App], *, mpp: float | None) -> Result:
        """Return the result cut to the app's limits; `mpp` is µm per level-0 pixel, None if it is not certain."""
        del app, mpp
        return result

    def features(self, result: Result, writer: FeatureWriter) -> Iterable[Feature]:
        """Return the GeoJSON features."""
        del result, writer
        return ()

    def draw(self, result: Result, canvas: Canvas) -> None:  # noqa: B027 - most kinds have nothing on the slide
        """Draw on an overview of the slide."""


class _Text(Kind):
    """The line of text."""

    field = "text"

    def clean(self, result: Result) -> str:
        return checked_text(result.text, "text")


class _Properties(Kind):
    """The table."""

    field = "properties"

    def clean(self, result: Result) -> dict[str, str | int | float]:
        return {
            checked_text(name, "properties"): checked_value(value, f"properties.{name}")
            for name, value in result.properties.items()
        }


class _Shapes(Kind):
    """Polygons and lines."""

    field = "shapes"

    def clean(self, result: Result) -> list[Shape]:
        shapes = all_of(result.shapes, Shape, "shapes")
        return [_clean_shape(each, f"shapes.{number}") for number, each in enumerate(shapes)]

    def cut(self, result: Result, app: App | type[App], *, mpp: float | None) -> Result:
        from slidehook.results.fewer_shapes import within_budget  # noqa: PLC0415 - loads shapely, which few need

        return within_budget(result, max_polygons=app.max_polygons, max_points=app.max_points, mpp=mpp)

    def features(self, result: Result, writer: FeatureWriter) -> Iterable[Feature]:
        kind = "annotation" if len(result.shapes) <= MANY else "detection"
        for each in result.shapes:
            if each.points:
                of_class = writer.class_of(each.name or writer.app_name, each.colour)
                yield writer.line(each.points, closed=each.closed, kind=kind, of_class=of_class, name=each.name)

    def draw(self, result: Result, canvas: Canvas) -> None:
        for each in result.shapes:
            # Beside a gallery, DPAT draws all polygons in one colour of its own.
            canvas.line(each.points, each.colour if result.gallery is None else BLUE, closed=each.closed)


class _Labels(Kind):
    """Texts on the slide."""

    field = "texts"

    def clean(self, result: Result) -> list[Text]:
        return [_clean_label(each, f"texts.{n}") for n, each in enumerate(all_of(result.texts, Text, "texts"))]

    def features(self, result: Result, writer: FeatureWriter) -> Iterable[Feature]:
        for each in result.texts:
            of_class = writer.class_of(writer.app_name, each.colour)
            yield writer.point(each.at, kind="annotation", of_class=of_class, name=each.words)

    def draw(self, result: Result, canvas: Canvas) -> None:
        for each in result.texts:
            canvas.label(each.at, each.words, each.colour)


class _Gallery(Kind):
    """Patches under tags."""

    field = "gallery"

    def clean(self, result: Result) -> Gallery | None:
        return None if result.gallery is None else _clean_gallery(result)

    def cut(self, result: Result, app: App | type[App], *, mpp: float | None) -> Result:
        gallery = result.gallery
        if gallery is None or len(gallery.patches) <= app.max_patches:
            return result
        note = f"{app.max_patches} of {len(gallery.patches)} (first)"
        return replace(
            result,
            gallery=replace(gallery, patches=gallery.patches[: app.max_patches]),
            properties={**result.properties, PATCHES_SHOWN: note},
        )

    def features(self, result: Result, writer: FeatureWriter) -> Iterable[Feature]:
        if result.gallery is None:
            return
        tags = result.gallery.tags
        classes = {tag: writer.class_of_tag(tag, tag_colour(index)) for index, tag in enumerate(tags)}
        for each in result.gallery.patches:
            key = each.sort_key
            more = {} if isinstance(key, str | None) else {"measurements": {"Sort key": key}}
            yield writer.point(each.at, kind="detection", of_class=classes[each.tag], **more)

    def draw(self, result: Result, canvas: Canvas) -> None:
        gallery = result.gallery
        if gallery is None:
            return
        colours = {tag: tag_colour(index) for index, tag in enumerate(gallery.tags)}
        least, most = _PATCH_PARTS
        part = max(least, min(most, most * (_FEW / max(1, len(gallery.patches))) ** 0.5))
        for each in gallery.patches:
            canvas.square(each.at, part * canvas.width, colours[each.tag])
        counts = gallery.counts().items()
        canvas.legend([(f"{tag}: {count}", colours[tag]) for tag, count in counts])


class _Quality(Kind):
    """The slide's quality."""

    field = "quality"

    def clean(self, result: Result) -> Quality | None:
        return None if result.quality is None else Quality(result.quality)


KINDS: tuple[Kind, ...] = (_Text(), _Properties(), _Shapes(), _Labels(), _Gallery(), _Quality())
"""One entry for each field of a Result, in the order in which they are checked, written and drawn."""


def _clean_shape(shape: Shape, where: str) -> Shape:
    return copied(
        Shape,
        shape,
        where,
        points=tuple(checked_point(point, f"{where}.points") for point in shape.points),
        colour=checked_colour(shape.colour),
        closed=bool(shape.closed),
        name=checked_text(shape.name, where),
    )


def _clean_label(text: Text, where: str) -> Text:
    return copied(
        Text,
        text,
        where,
        at=checked_point(text.at, where),
        words=checked_text(text.words, where),
        colour=checked_colour(text.colour),
    )


def _clean_gallery(result: Result) -> Gallery:
    (gallery,) = all_of([result.gallery], Gallery, "gallery")
    if result.texts or not all(each.closed for each in result.shapes):
        raise ValueError("beside a gallery there can be polygons, but neither lines nor labels")
    tags = [checked_text(tag, "gallery.tags") for tag in gallery.tags]
    if len(set(tags)) < len(tags):
        raise ValueError(f"gallery.tags {tags} holds a tag twice")
    buttons = [_clean_button(each) for each in all_of(gallery.buttons, Button, "gallery.buttons")]
    if len({each.id for each in buttons}) < len(buttons):
        raise ValueError("two of gallery.buttons have the same id")
    return copied(
        Gallery,
        gallery,
        "gallery",
        tags=tags,
        patches=[
            _clean_patch(each, tags, f"gallery.patches.{n}")
            for n, each in enumerate(all_of(gallery.patches, Patch, "patches"))
        ],
        patch_size_px=above_0(gallery.patch_size_px, "gallery.patch_size_px"),
        magnification=above_0(gallery.magnification, "gallery.magnification"),
        description=checked_text(gallery.description, "gallery.description"),
        buttons=buttons,
    )


def _clean_patch(patch: Patch, tags: list[str], where: str) -> Patch:
    if patch.tag not in tags:
        raise ValueError(f"{where}.tag is {patch.tag!r}, not one of gallery.tags")
    key = patch.sort_key
    sort_key = key if key is None else checked_value(key, where)
    return copied(
        Patch, patch, where, tag=checked_text(patch.tag, where), at=checked_point(patch.at, where), sort_key=sort_key
    )


def _clean_button(button: Button) -> Button:
    words = {name: checked_text(getattr(button, name), "gallery.buttons") for name in ("id", "name", "tooltip")}
    return copied(Button, button, "gallery.buttons", **words, pressed=bool(button.pressed))
