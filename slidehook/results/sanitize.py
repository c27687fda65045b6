"""What an app gives, made of nothing but our own classes, texts and Python's numbers: so it can be kept and sent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from enum import Enum
from typing import Any, TypeVar

import numpy as np

from slidehook.errors import AppError
from slidehook.geometry import PixelPoint
from slidehook.result import Button, Gallery, Patch, Quality, Result, Shape, Text, checked_colour

MAX_SENTENCE = 500
"""How long an app's own words in a sentence of ours may be, in characters."""
OWN = (Result, Shape, Text, Patch, Button, Gallery, PixelPoint)
"""The classes that a result is made of."""
_T = TypeVar("_T")


def sanitize_result(result: Result) -> Result:
    """Copy an app's result; raises AppError that says where in it is what can't be sent to DPAT.

    NumPy's numbers become Python's, and True and False "yes" and "no".
    """
    try:
        return _copied(
            Result,
            result,
            "",
            text=_text(result.text, "text"),
            properties={
                _text(name, "properties"): _value(value, f"properties.{name}")
                for name, value in result.properties.items()
            },
            shapes=[_shape(each, f"shapes.{n}") for n, each in enumerate(_all(result.shapes, Shape, "shapes"))],
            texts=[_label(each, f"texts.{n}") for n, each in enumerate(_all(result.texts, Text, "texts"))],
            gallery=None if result.gallery is None else _gallery(result),
            quality=None if result.quality is None else Quality(result.quality),
        )
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise AppError(f"the app's result can't be sent to DPAT: {error}") from error


def in_words(error: BaseException) -> str:
    """Give what an error says, clipped; an author's own may fail even in that."""
    try:
        return clipped(str(error))
    except Exception:
        # An author's class may raise anything.
        return "it can't say what it is"


def clipped(words: str) -> str:
    """Give the first `MAX_SENTENCE` characters."""
    return words[:MAX_SENTENCE] + ("…" if len(words) > MAX_SENTENCE else "")


def _gallery(result: Result) -> Gallery:
    (gallery,) = _all([result.gallery], Gallery, "gallery")
    if result.texts or not all(each.closed for each in result.shapes):
        raise ValueError("beside a gallery there can be polygons, but neither lines nor labels")
    tags = [_text(tag, "gallery.tags") for tag in gallery.tags]
    if len(set(tags)) < len(tags):
        raise ValueError(f"gallery.tags {tags} holds a tag twice")
    buttons = [_button(each) for each in _all(gallery.buttons, Button, "gallery.buttons")]
    if len({each.id for each in buttons}) < len(buttons):
        raise ValueError("two of gallery.buttons have the same id")
    return _copied(
        Gallery,
        gallery,
        "gallery",
        tags=tags,
        patches=[
            _patch(each, tags, f"gallery.patches.{n}")
            for n, each in enumerate(_all(gallery.patches, Patch, "patches"))
        ],
        patch_size_px=_above_0(gallery.patch_size_px, "gallery.patch_size_px"),
        magnification=_above_0(gallery.magnification, "gallery.magnification"),
        description=_text(gallery.description, "gallery.description"),
        buttons=buttons,
    )


def _patch(patch: Patch, tags: list[str], where: str) -> Patch:
    if patch.tag not in tags:
        raise ValueError(f"{where}.tag is {patch.tag!r}, not one of gallery.tags")
    key = patch.sort_key
    sort_key = key if key is None else _value(key, where)
    return _copied(Patch, patch, where, tag=_text(patch.tag, where), at=_point(patch.at, where), sort_key=sort_key)


def _button(button: Button) -> Button:
    words = {name: _text(getattr(button, name), "gallery.buttons") for name in ("id", "name", "tooltip")}
    return _copied(Button, button, "gallery.buttons", **words, pressed=bool(button.pressed))


def _shape(shape: Shape, where: str) -> Shape:
    return _copied(
        Shape,
        shape,
        where,
        points=tuple(_point(point, f"{where}.points") for point in shape.points),
        colour=checked_colour(shape.colour),
        closed=bool(shape.closed),
        name=_text(shape.name, where),
    )


def _label(text: Text, where: str) -> Text:
    return _copied(
        Text,
        text,
        where,
        at=_point(text.at, where),
        words=_text(text.words, where),
        colour=checked_colour(text.colour),
    )


def _copied(kind: type[_T], value: _T, where: str, **checked: Any) -> _T:
    """Copy every field of a class of ours: those in `checked` as they stand there, any other one made plain."""
    names = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    dot = where and f"{where}."
    return kind(
        **{name: checked[name] if name in checked else _any(getattr(value, name), f"{dot}{name}") for name in names}
    )


def _any(value: Any, where: str) -> Any:
    """Make plain whatever a field may hold."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum) and type(value).__module__ == Result.__module__:
        return value
    if isinstance(value, list | tuple):
        kept = [_any(each, f"{where}.{n}") for n, each in enumerate(value)]
        return kept if isinstance(value, list) else tuple(kept)
    if isinstance(value, dict):
        return {_text(name, where): _any(each, f"{where}.{name}") for name, each in value.items()}
    for kind in OWN:
        if isinstance(value, kind):
            return _copied(kind, value, where)
    return _value(value, where)


def _point(point: PixelPoint, where: str) -> PixelPoint:
    if not isinstance(point, PixelPoint):
        raise TypeError(f"{where} holds a {type(point).__name__} where a PixelPoint belongs")
    x, y = float(point.x), float(point.y)
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError(f"{where} lies at ({x}, {y}), which is no place")
    return PixelPoint(x, y)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{where} must be a text, not {type(value).__name__}")
    value.encode()  # half a surrogate pair is a str, but can't be sent
    return str(value)


def _value(value: Any, where: str) -> str | int | float:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}, which is no number")
        return float(value)
    if isinstance(value, str):
        return _text(value, where)
    raise TypeError(f"{where} must be a text or a number, not {type(value).__name__}")


def _above_0(value: Any, where: str) -> float:
    number = _value(value, where)
    if isinstance(number, str) or not number > 0:
        raise ValueError(f"{where} must be a number above 0, not {number!r}")
    return number


def _all(values: Sequence[Any], kind: type[_T], where: str) -> list[_T]:
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(f"{where} holds a {type(value).__name__} where a {kind.__name__} belongs")
    return list(values)
