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
    """Return a picture and `count` smaller ones, each half as large as the one before; sides are rounded up."""
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


_SCN = """<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">
<collection sizeX="{collection[0]}" sizeY="{collection[1]}"><barcode>x</barcode><image name="section">
<creationDate>2024-01-01T00:00:00Z</creationDate><device model="Leica SCN400" version="1"/>
<pixels sizeX="{size[0]}" sizeY="{size[1]}"><dimension sizeX="{size[0]}" sizeY="{size[1]}" r="0" ifd="0"/></pixels>
<view sizeX="{view[0]}" sizeY="{view[1]}" offsetX="{offset[0]}" offsetY="{offset[1]}" spacingZ="0"/><scanSettings>
<objectiveSettings><objective>40</objective></objectiveSettings><illuminationSettings>
<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image></collection></scn>"""


def write_scn(path: Path, scanned: Pixels, *, at: tuple[int, int], whole: tuple[int, int], mpp: float = 0.25) -> Path:
    """Write a Leica SCN file: a glass of `whole` pixels, of which `scanned` was scanned, with its corner `at`."""
    size = scanned.shape[1::-1]
    nm_per_px = mpp * 1000
    nanometres = {
        name: tuple(round(each * nm_per_px) for each in sides)
        for name, sides in (("collection", whole), ("view", size), ("offset", at))
    }
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(
            scanned, tile=(TILE_PX, TILE_PX), photometric="rgb", metadata=None, software=None,
            description=_SCN.format(size=size, **nanometres), resolution=(1e4 / mpp, 1e4 / mpp),
            resolutionunit="CENTIMETER",
        )  # fmt: skip
    return path
