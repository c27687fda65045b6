"""Overviews of whole slides, from any pixel source."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

from openslide import OpenSlide
from PIL import Image

from slidehook.pixels.file_pixels import FilePixels, objective_power, read_in_parts, stated_mpp
from slidehook.pixels.size import plausible_mpp
from slidehook.pixels.source import Box, Pixels, PixelSource

SIDE_PX = 512
"""The side of the parts from which an overview is assembled, in its own pixels."""
READERS = 3
"""The most parts that are read at once; the memory for a part does not depend on the slide's size."""
THUMBNAIL_MPP = 64.0
"""The intended pixel size of a thumbnail, in µm per pixel."""
THUMBNAIL_PIXELS = 512
"""The longer side of a thumbnail if the slide's pixel size is unknown."""


def read_whole(source: PixelSource, size: tuple[float, float], columns: int, rows: int) -> Pixels:
    """Read a whole slide of `size` level-0 pixels as an image of `columns` x `rows`: uint8 RGB.

    Needs about 200 MB besides the image, whatever the size of the slide. Raises as `PixelSource.read` does.
    """
    readers = min(READERS, len(os.sched_getaffinity(0)))
    return read_in_parts(source.read, Box(0, 0, *size), columns, rows, side=SIDE_PX, threads=readers)


def thumbnail_of(slide: OpenSlide, path: Path | None = None) -> Image.Image:
    """Return an RGB overview of an open slide, at about `THUMBNAIL_MPP`. Raises SlideUnreadable."""
    stated = plausible_mpp(stated_mpp(slide), objective_power(slide))
    longest = max(slide.dimensions)
    downsample = THUMBNAIL_MPP * 2 / sum(stated) if stated is not None else longest / THUMBNAIL_PIXELS
    return picture_of(slide, path, longest / max(1.0, downsample))


def picture_of(slide: OpenSlide, path: Path | None, longest_px: float) -> Image.Image:
    """Return an RGB overview whose longer side is about `longest_px`, at most the slide's. Raises SlideUnreadable."""
    downsample = max(1.0, max(slide.dimensions) / longest_px)
    columns, rows = (max(1, round(each / downsample)) for each in slide.dimensions)
    with closing(FilePixels(slide, path)) as pixels:
        return Image.fromarray(read_whole(pixels, slide.dimensions, columns, rows))
