"""Overviews of whole slides, from whatever source: the one place where they are put together."""

from __future__ import annotations

import os
from pathlib import Path

from openslide import OpenSlide
from PIL import Image

from slidehook.pixels.size import believable
from slidehook.pixels.source import Box, FilePixels, Pixels, PixelSource, in_parts, objective_power, stated_mpp

SIDE_PX = 512
"""An overview is put together from parts of this side, in its own pixels."""
READERS = 3
"""How many parts are read at once, at most: what one takes does not grow with the slide."""
THUMBNAIL_MPP = 64.0
"""What a thumbnail aims at, in µm per pixel."""
THUMBNAIL_PIXELS = 512
"""The longer side of a thumbnail of a slide that does not say its pixel size."""


def read_whole(source: PixelSource, size: tuple[float, float], columns: int, rows: int) -> Pixels:
    """Read a whole slide, of `size` level-0 pixels, as a picture of `columns` x `rows`: uint8 RGB.

    It takes some 200 MB beside the picture, however large the slide is. Raises as `PixelSource.read` does.
    """
    readers = min(READERS, len(os.sched_getaffinity(0)))
    return in_parts(source.read, Box(0, 0, *size), columns, rows, side=SIDE_PX, threads=readers)


def thumbnail_of(slide: OpenSlide, path: Path | None = None) -> Image.Image:
    """Make an RGB overview at about `THUMBNAIL_MPP` of an open slide that lies at `path`; raises SlideUnreadable."""
    stated = believable(stated_mpp(slide), objective_power(slide))
    longest = max(slide.dimensions)
    shrink = THUMBNAIL_MPP * 2 / sum(stated) if stated is not None else longest / THUMBNAIL_PIXELS
    return picture_of(slide, path, longest / max(1.0, shrink))


def picture_of(slide: OpenSlide, path: Path | None, longest_px: float) -> Image.Image:
    """Make an RGB overview of an open slide with about this longer side, at most its own; raises SlideUnreadable."""
    shrink = max(1.0, max(slide.dimensions) / longest_px)
    columns, rows = (max(1, round(each / shrink)) for each in slide.dimensions)
    return Image.fromarray(read_whole(FilePixels(slide, path), slide.dimensions, columns, rows))
