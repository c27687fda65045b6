"""Checks of the values in a Result: each returns a plain copy, or raises an error that names the faulty field.

A plain value is made of slidehook's own classes, `str` and Python's numbers only, so another process can unpickle it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from enum import Enum
from typing import Any, TypeVar

import numpy as np

from slidehook.geometry import PixelPoint
from slidehook.result import Button, Gallery, Patch, Result, Shape, Text

OWN = (Result, Shape, Text, Patch, Button, Gallery, PixelPoint)
"""The classes that a result is made of."""
_T = TypeVar("_T")


def copied(kind: type[_T], value: _T, where: str, **checked: Any) -> _T:
    """Copy every field of one of slidehook's classes: from `checked` if it is there, else as a plain value.

    `where` is the path of `value` in the result, for messages; "" for the result itself.
    """
    names = [each.name for each in fields(kind)]  # type: ignore[arg-type]
    dot = where and f"{where}."
    return kind(
        **{name: checked[name] if name in checked else _plain(getattr(value, name), f"{dot}{name}") for name in names}
    )


def _plain(value: Any, where: str) -> Any:
    """Return a plain copy of any value that a field may hold."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum) and type(value).__module__ == Result.__module__:
        return value
    if isinstance(value, list | tuple):
        kept = [_plain(each, f"{where}.{n}") for n, each in enumerate(value)]
        return kept if isinstance(value, list) else tuple(kept)
    if isinstance(value, dict):
        return {checked_text(name, where): _plain(each, f"{where}.{name}") for name, each in value.items()}
    for kind in OWN:
        if isinstance(value, kind):
            return copied(kind, value, where)
    return checked_value(value, where)


def checked_point(point: PixelPoint, where: str) -> PixelPoint:
    """Return a point with finite coordinates; raises TypeError or ValueError."""
    if not isinstance(point, PixelPoint):
        raise TypeError(f"{where} holds a {type(point).__name__} where a PixelPoint belongs")
    x, y = float(point.x), float(point.y)
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError(f"{where} lies at ({x}, {y}), which is no place")
    return PixelPoint(x, y)


def checked_text(value: Any, where: str) -> str:
    """Return a text that can be encoded; raises TypeError or UnicodeEncodeError."""
    if not isinstance(value, str):
        raise TypeError(f"{where} must be a text, not {type(value).__name__}")
    value.encode()  # a lone surrogate is a str, but cannot be encoded
    return str(value)


def checked_value(value: Any, where: str) -> str | int | float:
    """Return a text or a finite number; True and False become "yes" and "no". Raises TypeError or ValueError."""
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
        return checked_text(value, where)
    raise TypeError(f"{where} must be a text or a number, not {type(value).__name__}")


def above_0(value: Any, where: str) -> float:
    """Return a number above 0; raises TypeError or ValueError."""
    number = checked_value(value, where)
    if isinstance(number, str) or not number > 0:
        raise ValueError(f"{where} must be a number above 0, not {number!r}")
    return number


def all_of(values: Sequence[Any], kind: type[_T], where: str) -> list[_T]:
    """Return the values as a list; raises TypeError if one is not a `kind`."""
    for value in values:
        if not isinstance(value, kind):
            raise TypeError(f"{where} holds a {type(value).__name__} where a {kind.__name__} belongs")
    return list(values)
