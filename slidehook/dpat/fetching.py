"""Fetches the thumbnail, the label and the files of a slide."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import structlog
from PIL import Image

from slidehook.disk import Room
from slidehook.dpat.errors import DownloadIncomplete, DpatError, TokenExpired
from slidehook.dpat.iaapi.client import DpatClient
from slidehook.dpat.iaapi.download import NO_RESERVE, save_files
from slidehook.dpat.pictures import read_picture
from slidehook.dpat.pixels import DpatPixels, why_no_tiles
from slidehook.models import ImageInfo
from slidehook.pixels.overview import THUMBNAIL_MPP, THUMBNAIL_PIXELS
from slidehook.pixels.size import is_plausible_mpp
from slidehook.pixels.source import Box

MAX_THUMBNAIL_PIXELS = 4096
"""The longest side of a thumbnail made from tiles."""
MAX_THUMBNAIL_TILES = 256
"""The most tiles fetched for a thumbnail; with 256-pixel tiles it is never reached."""
MAX_LABEL_PX = (5000, 5000)
"""The largest width and height of a label's picture."""
DOWNLOAD_TRIES = 3

log = structlog.get_logger()


def thumbnail_level(width: int, height: int, mpp: float | None) -> int:
    """Choose the Deep Zoom level nearest to `THUMBNAIL_MPP` µm per pixel (sizes in level-0 pixels).

    Without a plausible pixel size it is the level whose longer side is nearest to `THUMBNAIL_PIXELS`.
    """
    top = max(0, math.ceil(math.log2(max(width, height))))
    if mpp is not None and is_plausible_mpp(mpp):
        halvings = math.log2(THUMBNAIL_MPP / mpp)
    else:
        halvings = math.log2(max(width, height)) - math.log2(THUMBNAIL_PIXELS)
    level = top - round(max(0.0, halvings))
    return max(0, min(top, level, math.ceil(math.log2(MAX_THUMBNAIL_PIXELS))))


def fetch_thumbnail(client: DpatClient, info: ImageInfo) -> Image.Image | None:
    """Assemble a thumbnail (RGB, about 64 µm per pixel) from DPAT's tiles.

    Returns None when DPAT can't provide all of it, because a thumbnail can be made from the file as well. Raises
    TokenExpired, which affects more than the thumbnail.
    """
    size, tile = info.image_size, info.tile_size
    if why_no_tiles(info) or size is None or tile is None:
        return None
    level = thumbnail_level(size.width, size.height, info.microns_per_pixel)
    shrink = 2 ** (max(0, math.ceil(math.log2(max(size.width, size.height)))) - level)
    width, height = math.ceil(size.width / shrink), math.ceil(size.height / shrink)
    if math.ceil(height / tile.height) * math.ceil(width / tile.width) > MAX_THUMBNAIL_TILES:
        return None
    try:
        pixels = DpatPixels(client, info).read(Box(0, 0, width * shrink, height * shrink), width, height)
    except TokenExpired:
        raise
    except DpatError as error:
        log.warning("no thumbnail from DPAT", reason=str(error))
        return None
    return Image.fromarray(pixels)


def fetch_label(client: DpatClient, slide_id: str) -> bytes | None:
    """Fetch the label's JPEG or PNG; None when DPAT has no label or returns an invalid one. Raises TokenExpired."""
    try:
        label = client.label(slide_id)
        if label is not None:
            read_picture(label, "DPAT's label", max_px=MAX_LABEL_PX)
    except TokenExpired:
        raise
    except DpatError as error:
        log.warning("no label from DPAT", reason=str(error))
        return None
    return label


def fetch_files(
    client: DpatClient,
    slide_id: str,
    make_folder: Callable[[], Path],
    received: Callable[[int, int | None], None],
    *,
    room: Room = NO_RESERVE,
    keep_names: bool = True,
) -> list[Path]:
    """Download the slide's files completely or not at all, into a new folder per try; see `save_files`."""
    for tries_left in reversed(range(DOWNLOAD_TRIES)):
        try:
            with client.files(slide_id) as response:
                return save_files(response, make_folder(), received, room=room, keep_names=keep_names)
        except DownloadIncomplete as error:
            if not tries_left:
                raise
            log.warning("download broke off, again", reason=str(error))
    raise AssertionError("the loop above returns or raises")
