"""How records are read that somebody else has sent: what can't be read and is not needed counts as missing."""

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
_WIDE_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""UTF-32 first: its little-endian mark begins with that of UTF-16."""


@dataclass
class _Reading:
    at: list[str] = field(default_factory=list)
    """The names of the fields that are being read, the outermost first."""
    unread: dict[str, None] = field(default_factory=dict)
    """The names of the fields that can't be read, each once, in the order in which they were met."""


_reading: ContextVar[_Reading | None] = ContextVar("_reading", default=None)


def read_leniently(read: Callable[[bytes], _T], content: bytes, what: str) -> _T:
    """Read JSON that was sent to us; optional fields that can't be read count as missing, and one warning names them.

    A byte order mark is passed over. Raises ValidationError where a field can't be read that is needed.
    """
    with _lenient() as reading:
        found = read(without_mark(content))
    if reading.unread:
        names = ", ".join(reading.unread)
        log.warning("fields that can't be read count as missing", record=what, fields=names)
    return found


@contextmanager
def _lenient() -> Iterator[_Reading]:
    reading = _Reading()
    before = _reading.set(reading)
    try:
        yield reading
    finally:
        _reading.reset(before)


def without_mark(content: bytes) -> bytes:
    """Give a text in UTF-8 without its byte order mark, also when the mark says that it is in UTF-16 or UTF-32."""
    if content.startswith(codecs.BOM_UTF8):
        return content.removeprefix(codecs.BOM_UTF8)
    for mark, encoding in _WIDE_MARKS:
        if content.startswith(mark):
            try:
                return content.decode(encoding).encode()
            except UnicodeError:
                return content
    return content


def note_unread(name: str) -> None:
    """Remember that the field `name` can't be read, where a record is being read that was sent to us."""
    if (reading := _reading.get()) is not None:
        reading.unread[".".join([*reading.at, name])] = None


def field_or_default(value: Any, read: ValidatorFunctionWrapHandler, name: str, default: Callable[[], Any]) -> Any:
    """Read a field of a record; where that was sent to us and can't be read, give its default."""
    reading = _reading.get()
    if reading is None:
        return read(value)
    reading.at.append(name)
    try:
        return read(value)
    except ValidationError:
        reading.unread[".".join(reading.at)] = None
        return default()
    finally:
        reading.at.pop()


def _item_or_nothing(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value)
    except ValidationError as error:
        reading = _reading.get()
        if reading is None:
            raise
        reading.unread[".".join([*reading.at, "(an item)"])] = None
        raise PydanticOmit from error


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("bool", "input should be a number or a text, not true or false")
    return value


def _rounded(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value):
        return round(value)
    return _no_bool(value)


def _whole_if_it_is(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Each = Annotated[_T, WrapValidator(_item_or_nothing)]
"""An item of a list, or value of a dict, that is left out where it can't be read."""
Number = Annotated[float, BeforeValidator(_no_bool)]
"""A finite number; `true` is none."""
Whole = Annotated[int, BeforeValidator(_no_bool)]
"""A whole number; `true` is none."""
Rounded = Annotated[int, BeforeValidator(_rounded)]
"""A whole number also where another one was given: the IA-API knows no fractions of a pixel."""
Plain = Annotated[int | float, BeforeValidator(_whole_if_it_is)]
"""A number that goes on the wire without a point where it is whole."""
Id = Annotated[int | str, BeforeValidator(_no_bool)]
"""A number or a text that DPAT has chosen."""
