"""One level of a pyramid as a file stores it: tiles of one size, each compressed separately."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from slidehook.pixels.tiff_file import MAX_TABLES_BYTES, Directory, Numbers, read_directories

MAX_TILE_PX = 2048**2
"""Tiles with more pixels are left to OpenSlide."""


MAX_AHEAD_BYTES = 8 * 1024 * 1024
"""The most bytes that the kernel is asked to read ahead."""


class Codec(Enum):
    """The compression of a tile, by its number in TIFF's compression tag."""

    NONE = 1
    LZW = 5
    JPEG = 7
    ADOBE_DEFLATE = 8
    DEFLATE = 32946
    JPEG_2000_YCBCR = 33003
    JPEG_2000_RGB = 33005
    JPEG_2000 = 33007
    ZSTD = 50000


class Colour(Enum):
    """The colour space of a JPEG tile, by its number in TIFF's tag of the photometric interpretation."""

    RGB = 2
    YCBCR = 6


@dataclass(frozen=True)
class StoredLevel:
    """A level that can be read without OpenSlide: `columns` x `rows` pixels in tiles of `tile` = (width, height).

    `offsets`, `counts`: each tile's offset in the file and its number of bytes, row by row; a missing tile has 0
    bytes. `tables`: the JPEG tables that all tiles share. `is_differenced`: the samples are stored as differences
    from the pixel to the left.
    """

    columns: int
    rows: int
    tile: tuple[int, int]
    codec: Codec
    colour: Colour
    offsets: Numbers = field(repr=False)
    counts: Numbers = field(repr=False)
    tables: bytes = field(default=b"", repr=False)
    is_differenced: bool = False

    @property
    def across(self) -> int:
        """The number of tiles in a row."""
        return -(-self.columns // self.tile[0])

    @property
    def down(self) -> int:
        """The number of rows of tiles."""
        return -(-self.rows // self.tile[1])

    @property
    def in_whole_tiles(self) -> tuple[int, int]:
        """The columns and rows that lie in tiles without padding."""
        width, height = self.tile
        return self.columns // width * width, self.rows // height * height

    def announce(self, file: int, columns: range, row: int) -> None:
        """Let the kernel read some tiles of a row ahead, if they lie close together in the file."""
        first, last = row * self.across + columns[0], row * self.across + columns[-1]
        begin, end = int(self.offsets[first]), int(self.offsets[last] + self.counts[last])
        if 0 < begin < end <= begin + MAX_AHEAD_BYTES:
            os.posix_fadvise(file, begin, end - begin, os.POSIX_FADV_WILLNEED)

    def read(self, file: int, column: int, row: int) -> bytes:
        """Return a tile's compressed bytes from the open file (descriptor); empty if it is missing or truncated."""
        number = row * self.across + column
        offset, count = int(self.offsets[number]), int(self.counts[number])
        # A count so much larger than the pixels is wrong.
        if offset <= 0 or not 0 < count <= 4 * 3 * self.tile[0] * self.tile[1] + MAX_TABLES_BYTES:
            return b""
        content = os.pread(file, count, offset)
        return content if len(content) == count else b""


def stored_levels(file: int, sizes: tuple[tuple[int, int], ...]) -> list[StoredLevel | None]:
    """Return how an open TIFF file (descriptor) stores the levels of these sizes; None unless exactly one image fits.

    Raises NotTiff and OSError.
    """
    images = [found for each in read_directories(file) if (found := _tiled_image(each)) is not None]
    levels: list[StoredLevel | None] = []
    for columns, rows in sizes:
        fitting = [each for each in images if (each.columns, each.rows) == (columns, rows)]
        levels.append(fitting[0] if len(fitting) == 1 else None)
    return levels


def _tiled_image(directory: Directory) -> StoredLevel | None:
    """Return an image of 8-bit RGB in tiles; None for anything else, which OpenSlide reads."""
    expected = {258: 8, 266: 1, 274: 1, 277: 3, 284: 1, 339: 1}
    defaults = {258: 1, 266: 1, 274: 1, 277: 1, 284: 1, 339: 1}
    if any(directory.one(tag, defaults[tag]) != wanted for tag, wanted in expected.items()):
        return None
    columns, rows, *tile = (directory.one(tag, 0) for tag in (256, 257, 322, 323))
    predictor = directory.one(317, 1)
    offsets, counts = (directory.tags.get(tag, np.empty(0, np.int64)) for tag in (324, 325))
    if min(columns, rows, *tile) < 1 or math.prod(tile) > MAX_TILE_PX or predictor not in {1, 2}:
        return None
    if len(offsets) != len(counts) or len(offsets) != -(-columns // tile[0]) * -(-rows // tile[1]):
        return None
    try:
        codec, colour = Codec(directory.one(259, 1)), Colour(directory.one(262, 0))
    except ValueError:
        return None
    tables = directory.tags.get(347, np.empty(0, np.int64)).astype(np.uint8).tobytes()
    if len(tables) > MAX_TABLES_BYTES:
        return None
    return StoredLevel(
        columns, rows, (tile[0], tile[1]), codec, colour, offsets, counts, tables, is_differenced=predictor == 2
    )  # fmt: skip
