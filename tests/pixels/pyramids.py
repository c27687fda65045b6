"""Writes pyramids whose levels are not what their sizes say, as real files have them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from slidehook.pixels.source import Pixels

TILE_PX = 512


def halves(picture: Pixels, count: int) -> list[Pixels]:
    """Give a picture and `count` smaller ones, each half as large as the one before; sides are rounded up."""
    found = [picture]
    for number in range(1, count + 1):
        size = [-(-side // 2**number) for side in picture.shape[1::-1]]
        found.append(np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX)))
    return found


def padded(level: Pixels, *, colour: int = 255) -> Pixels:
    """Pad a level to whole tiles."""
    rows, columns = (-(-side // TILE_PX) * TILE_PX for side in level.shape[:2])
    whole = np.full((rows, columns, 3), colour, np.uint8)
    whole[: level.shape[0], : level.shape[1]] = level
    return whole


def write_levels(
    path: Path, levels: Iterable[Pixels], *, mpp: float = 0.25, tile_px: int = TILE_PX, deflated: bool = False
) -> Path:
    """Write levels as they are as a tiled TIFF, the largest first."""
    compression = "zlib" if deflated else None
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for number, level in enumerate(levels):
            file.write(
                level, tile=(tile_px, tile_px), photometric="rgb", compression=compression, metadata=None,
                subfiletype=min(number, 1), resolution=(1e4 / mpp, 1e4 / mpp), resolutionunit="CENTIMETER",
            )  # fmt: skip
    return path
