"""What an app gives, made of nothing but our own classes, texts and Python's numbers: so it can be kept and sent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from slidehook.errors import AppError
from slidehook.geometry import PixelPoint
from slidehook.result import Button, Gallery, Patch, Quality, Result, Shape, Text, checked_colour

MAX_SENTENCE = 500
"""How long an app's own words in a sentence of ours may be, in characters."""
_T = TypeVar("_T")


def plain(result: Result) -> Result:
    """Copy an app's result; raises AppError that says where in it is what can't be sent to DPAT.

    NumPy's numbers become Python's, and True and False "yes" and "no".
    """
    try:
        return Result(
            _text(result.text, "text"),
            {
                _text(name, "properties"): _value(value, f"properties.{name}")
                for name, value in result.properties.items()
            },
            [_shape(each, f"shapes.{n}") for n, each in enumerate(_all(result.shapes, Shape, "shapes"))],
            [_label(each, f"texts.{n}") for n, each in enumerate(_all(result.texts, Text, "texts"))],
            None if result.gallery is None else _gallery(result),
            None if result.quality is None else Quality(result.quality),
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
    return Gallery(
        tags,
        [
            _patch(each, tags, f"gallery.patches.{n}")
            for n, each in enumerate(_all(gallery.patches, Patch, "patches"))
        ],
        _above_0(gallery.patch_size_px, "gallery.patch_size_px"),
        _above_0(gallery.magnification, "gallery.magnification"),
        _text(gallery.description, "gallery.description"),
        buttons,
    )


def _patch(patch: Patch, tags: list[str], where: str) -> Patch:
    if patch.tag not in tags:
        raise ValueError(f"{where}.tag is {patch.tag!r}, not one of gallery.tags")
    key = patch.sort_key
    return Patch(_text(patch.tag, where), _point(patch.at, where), key if key is None else _value(key, where))


def _button(button: Button) -> Button:
    button_id, name, tooltip = (_text(each, "gallery.buttons") for each in (button.id, button.name, button.tooltip))
    return Button(button_id, name, tooltip, pressed=bool(button.pressed))


def _shape(shape: Shape, where: str) -> Shape:
    points = tuple(_point(point, f"{where}.points") for point in shape.points)
    return Shape(points, checked_colour(shape.colour), bool(shape.closed), _text(shape.name, where))


def _label(text: Text, where: str) -> Text:
    return Text(_point(text.at, where), _text(text.words, where), checked_colour(text.colour))


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
