"""Writes tiled TIFF files with each compression that is read directly, and spoils them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from slidehook.pixels.source import Pixels

APERIO = "Aperio Image Library v12.0.15\r\nmade|AppMag = 40|MPP = 0.25"
"""The description by which OpenSlide knows an Aperio file; no other file may have JPEG 2000."""
KINDS: dict[str, dict[str, Any]] = {
    "none": {"compression": None},
    "lzw": {"compression": "lzw"},
    "lzw with differences": {"compression": "lzw", "predictor": 2},
    "deflate": {"compression": "zlib", "predictor": 2},
    "zstd": {"compression": "zstd"},
    "jpeg 4:2:0": {"compression": "jpeg", "subsampling": (2, 2)},
    "jpeg 4:2:2": {"compression": "jpeg", "subsampling": (2, 1)},
    "jpeg 4:4:4": {"compression": "jpeg", "subsampling": (1, 1)},
    "jpeg rgb": {"compression": "jpeg", "compressionargs": {"outcolorspace": "rgb"}},
    "jpeg 2000": {"compression": 33005, "description": APERIO},
}


def write_stored(path: Path, levels: list[Pixels], kind: str, *, tile_px: int = 256) -> Path:
    """Write a pyramid, the largest level first."""
    how = {"photometric": "rgb", **KINDS[kind]}
    with tifffile.TiffWriter(path) as file:
        for number, level in enumerate(levels):
            file.write(
                level, tile=(tile_px, tile_px), metadata=None, subfiletype=min(number, 1), software=None,
                resolution=(40_000, 40_000), resolutionunit="CENTIMETER", **how,
            )  # fmt: skip
    return path


def encoded_places(columns: int, rows: int) -> Pixels:
    """Return a picture whose pixels encode their own place: x in red and the low half of blue, y in green and blue.

    Up to 4096 pixels along each side: red and green are the place divided by 16, blue has the two remainders.
    """
    y, x = np.mgrid[0:rows, 0:columns]
    return np.stack([x >> 4, y >> 4, (x & 15) << 4 | (y & 15)], axis=-1).astype(np.uint8)


def place_of(pixel: np.ndarray[Any, np.dtype[np.uint8]]) -> tuple[int, int]:
    """Return the place that a pixel encodes."""
    red, green, blue = (int(each) for each in pixel)
    return (red << 4) + (blue >> 4), (green << 4) + (blue & 15)


def patch_tag(path: Path, tag: int, change: dict[int, int], *, page: int = 0) -> None:
    """Overwrite numbers of a tag in a little-endian TIFF file, by their index."""
    with tifffile.TiffFile(path) as file:
        found = file.pages[page].aspage().tags[tag]
        place, form = found.valueoffset, {3: "<H", 4: "<I"}[int(found.dtype)]
    with path.open("r+b") as content:
        for index, value in change.items():
            content.seek(place + index * struct.calcsize(form))
            content.write(struct.pack(form, value))
