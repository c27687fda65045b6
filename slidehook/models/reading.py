"""Lenient parsing of received records: an unreadable optional field counts as missing."""

from __future__ import annotations

import codecs
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import structlog
from pydantic import BeforeValidator, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError, PydanticOmit

log = structlog.get_logger()
_T = TypeVar("_T")
_WIDE_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""UTF-32 comes first: its little-endian mark begins with the mark of UTF-16."""


@dataclass
class _Reading:
    path: list[str] = field(default_factory=list)
    """The names of the fields being parsed, outermost first."""
    unread: dict[str, None] = field(default_factory=dict)
    """The names of the unreadable fields, each once, in the order found."""


_reading: ContextVar[_Reading | None] = ContextVar("_reading", default=None)


def read_leniently(read: Callable[[bytes], _T], content: bytes, what: str) -> _T:
    """Parse received JSON; unreadable optional fields count as missing, and one warning lists them.

    A byte order mark is skipped. Raises ValidationError when a required field is missing or unreadable.
    """
    with _lenient() as reading:
        record = read(without_bom(content))
    if reading.unread:
        names = ", ".join(reading.unread)
        log.warning("unreadable fields were ignored", record=what, fields=names)
    return record


@contextmanager
def _lenient() -> Iterator[_Reading]:
    reading = _Reading()
    before = _reading.set(reading)
    try:
        yield reading
    finally:
        _reading.reset(before)


def without_bom(content: bytes) -> bytes:
    """Return a text as UTF-8 without its byte order mark, decoding UTF-16 and UTF-32 where the mark says so."""
    if content.startswith(codecs.BOM_UTF8):
        return content.removeprefix(codecs.BOM_UTF8)
    for mark, encoding in _WIDE_BOMS:
        if content.startswith(mark):
            try:
                return content.decode(encoding).encode()
            except UnicodeError:
                return content
    return content


def note_unread(name: str) -> None:
    """Note that the field `name` is unreadable; has an effect only inside `read_leniently`."""
    if (reading := _reading.get()) is not None:
        reading.unread[".".join([*reading.path, name])] = None


def field_or_default(value: Any, read: ValidatorFunctionWrapHandler, name: str, default: Callable[[], Any]) -> Any:
    """Parse one field; return its default when it is unreadable and the parsing is lenient."""
    reading = _reading.get()
    if reading is None:
        return read(value)
    reading.path.append(name)
    try:
        return read(value)
    except ValidationError:
        reading.unread[".".join(reading.path)] = None
        return default()
    finally:
        reading.path.pop()


def _item_or_omit(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value)
    except ValidationError as error:
        reading = _reading.get()
        if reading is None:
            raise
        reading.unread[".".join([*reading.path, "(an item)"])] = None
        raise PydanticOmit from error


def _reject_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("bool", "input should be a number or a text, not true or false")
    return value


def _rounded(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value):
        return round(value)
    return _reject_bool(value)


def _as_int_if_whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


LenientItem = Annotated[_T, WrapValidator(_item_or_omit)]
"""An item of a list or a value of a dict; an unreadable one is left out."""
Number = Annotated[float, BeforeValidator(_reject_bool)]
"""A finite number, not a boolean."""
WholeNumber = Annotated[int, BeforeValidator(_reject_bool)]
"""A whole number, not a boolean."""
Rounded = Annotated[int, BeforeValidator(_rounded)]
"""A number rounded to a whole one: the IA-API has no fractions of a pixel."""
CompactNumber = Annotated[int | float, BeforeValidator(_as_int_if_whole)]
"""A number serialized without a decimal point when it is whole."""
Id = Annotated[int | str, BeforeValidator(_reject_bool)]
"""An identifier chosen by DPAT: a number or a text."""
