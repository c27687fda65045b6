"""How long an answer of DPAT may be: what is longer is not read to its end, so that no answer fills the memory."""

from __future__ import annotations

import re

from slidehook.models import Size

KIB, MIB = 1024, 1024 * 1024
HEAD_BYTES = 256 * KIB
"""What the headers and the chunks' lengths of any answer may take beside its body."""
PAGE_BYTES = 64 * KIB
"""How much is read of an answer that is an error: only its status counts, and what is short keeps the connection."""
RECORD_BYTES = 4 * MIB
"""The longest answer where nothing else is said here: an image record, a token, the server's versions."""
MOST_VALUES = 4_000_000
"""How many values the JSON of an answer may hold: each takes two bytes there, and 30 to 60 bytes of memory."""
_LONGER = (
    (re.compile(r"/applications/.*"), 64 * MIB),
    (re.compile(r"/(slides/[^/]+/request|requests/[^/]+)/images/info"), 16 * MIB),
    (re.compile(r"/slides/[^/]+/label"), 8 * MIB),
)
"""Results, their lists and attachments: as much as is read of a result that comes back in a request. The records of a
case. Labels."""

MOST_TILE_SIDE_PX = 4096
"""A slide whose record says that its tiles are larger is not read in tiles."""
TILE_PIXEL_BYTES = 8
"""What a pixel of a tile may take: a PNG of 16 bits and four channels that can't be compressed."""


OVERLAP_PX = 2
"""By how much a tile may be wider or higher than announced: Deep Zoom lets neighbours overlap by a pixel each."""


def most_answer_bytes(path: str) -> int:
    """Say how many bytes the answer to a call may have, by its path below the callback URL."""
    return next((most for pattern, most in _LONGER if pattern.fullmatch(path)), RECORD_BYTES)


def most_tile_bytes(tile: Size) -> int:
    """Say how many bytes a tile may have, when the image record says that tiles are so large."""
    width, height = most_tile_px(tile)
    return width * height * TILE_PIXEL_BYTES + 64 * KIB


def most_tile_px(tile: Size) -> tuple[int, int]:
    """Say how wide and high a tile may be, when the image record says that tiles are so large."""
    width, height = (max(1, min(each, MOST_TILE_SIDE_PX)) + OVERLAP_PX for each in (tile.width, tile.height))
    return width, height
