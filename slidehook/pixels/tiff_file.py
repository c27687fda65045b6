"""Finds where a TIFF file stores the tiles of its images.

A parser of its own, since libraries for TIFF interpret a whole file with all its formats, and a damaged file makes
them raise anything. Nothing that a file states is believed: each number is checked against the file's size.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_DIRECTORIES = 256
MAX_TAGS = 1024
"""The most tags of one directory that are read."""
MAX_TABLES_BYTES = 65_536
_TYPES: Final = {1: "u1", 3: "u2", 4: "u4", 7: "u1", 13: "u4", 16: "u8", 18: "u8"}
"""The types of TIFF's whole numbers and bytes."""

Numbers = NDArray[np.int64]


class NotTiff(ValueError):
    """The file is no TIFF file, or a damaged one."""


@dataclass(frozen=True)
class Directory:
    """The numbers of one image in a TIFF file, by tag."""

    tags: dict[int, Numbers]

    def one(self, tag: int, default: int) -> int:
        """Return the first number of a tag; `default` if the directory has none."""
        values = self.tags.get(tag)
        return default if values is None or not len(values) else int(values[0])


def read_directories(file: int) -> list[Directory]:
    """Return the images of an open TIFF or BigTIFF file (descriptor), in order. Raises NotTiff and OSError."""
    return list(_Parser(file).directories())


class _Parser:
    def __init__(self, file: int) -> None:
        self._file = file
        self._size = os.fstat(file).st_size
        start = self._bytes(0, 16)
        self._order = {b"II": "<", b"MM": ">"}.get(start[:2], "")
        if not self._order:
            raise NotTiff("the file does not begin as TIFF")
        (magic,) = struct.unpack(f"{self._order}H", start[2:4])
        if magic not in {42, 43}:
            raise NotTiff("the file does not begin as TIFF")
        self._is_big = magic == 43
        self._first = self._number(8 if self._is_big else 4)

    def directories(self) -> list[Directory]:
        found: list[Directory] = []
        at, seen = self._first, set[int]()
        while at:
            if at in seen or len(seen) == MAX_DIRECTORIES:
                raise NotTiff("the file's directories do not end")
            seen.add(at)
            count = self._number(at, "Q" if self._is_big else "H")
            if count > MAX_TAGS:
                raise NotTiff("a directory has too many tags")
            entry = np.dtype(
                [("tag", f"{self._order}u2"), ("type", f"{self._order}u2"),
                 ("count", f"{self._order}u{self._word}"), ("value", f"V{self._word}")]
            )  # fmt: skip
            begin = at + (8 if self._is_big else 2)
            entries = np.frombuffer(self._bytes(begin, count * entry.itemsize), entry)
            values = {}
            for number, each in enumerate(entries):
                place = begin + number * entry.itemsize + entry.fields["value"][1]  # type: ignore[index]
                kept = self._values(int(each["type"]), int(each["count"]), place)
                if kept is not None:
                    values[int(each["tag"])] = kept
            found.append(Directory(values))
            at = self._number(begin + len(entries) * entry.itemsize)
        return found

    @property
    def _word(self) -> int:
        return 8 if self._is_big else 4

    def _values(self, kind: int, count: int, place: int) -> Numbers | None:
        """Return a tag's numbers; None if it holds something else."""
        if kind not in _TYPES:
            return None
        dtype = np.dtype(f"{self._order}{_TYPES[kind]}")
        length = count * dtype.itemsize
        at = place if length <= self._word else self._number(place)
        return np.frombuffer(self._bytes(at, length), dtype).astype(np.int64)

    def _number(self, at: int, code: str = "") -> int:
        form = self._order + (code or ("Q" if self._is_big else "I"))
        (number,) = struct.unpack(form, self._bytes(at, struct.calcsize(form)))
        return int(number)

    def _bytes(self, at: int, length: int) -> bytes:
        if at + length > self._size:
            raise NotTiff("the file ends before what it announces")
        content = os.pread(self._file, length, at)
        if len(content) != length:
            raise NotTiff("the file was cut off while it was read")
        return content
