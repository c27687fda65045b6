"""Size limits of DPAT's answers: reading stops at the limit, so that no answer fills the memory."""

from __future__ import annotations

import re

from slidehook.models import Size

KIB, MIB = 1024, 1024 * 1024
HEAD_BYTES = 256 * KIB
"""The allowance for headers and chunk lengths, on top of the body."""
PAGE_BYTES = 64 * KIB
"""How much of an error's body is read: only its status matters, but a short body read keeps the connection."""
RECORD_BYTES = 4 * MIB
"""The default limit: image records, tokens, the server's versions."""
MAX_VALUES = 4_000_000
"""The most values in an answer's JSON: each takes at least two bytes there, and 30 to 60 bytes of memory."""
_LONGER = (
    (re.compile(r"/applications/.*"), 64 * MIB),
    (re.compile(r"/(slides/[^/]+/request|requests/[^/]+)/images/info"), 16 * MIB),
    (re.compile(r"/slides/[^/]+/label"), 8 * MIB),
)
"""Results, their lists and attachments (as in a request's body); the records of a case; labels."""

MAX_TILE_SIDE_PX = 4096
"""A slide whose image record states larger tiles is not read in tiles."""
TILE_PIXEL_BYTES = 8
"""The most bytes per pixel of a tile: an incompressible PNG of four channels at 16 bits."""


OVERLAP_PX = 2
"""How much wider or higher than stated a tile may be: in Deep Zoom, neighbours overlap by a pixel on each side."""


def max_response_bytes(path: str) -> int:
    """Return the size limit in bytes of the answer to a call, by its path below the callback URL."""
    return next((most for pattern, most in _LONGER if pattern.fullmatch(path)), RECORD_BYTES)


def max_tile_bytes(tile: Size) -> int:
    """Return the size limit in bytes of a tile, by the tile size in the image record."""
    width, height = max_tile_px(tile)
    return width * height * TILE_PIXEL_BYTES + 64 * KIB


def max_tile_px(tile: Size) -> tuple[int, int]:
    """Return the largest width and height of a tile in pixels, by the tile size in the image record."""
    width, height = (max(1, min(each, MAX_TILE_SIDE_PX)) + OVERLAP_PX for each in (tile.width, tile.height))
    return width, height
