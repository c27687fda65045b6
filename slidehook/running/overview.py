"""Makes a slide's overview, in the child that analyses it: a picture that is broken, or huge, ends no worker."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

from slidehook.disk import storing
from slidehook.dpat.access import DpatAccess
from slidehook.dpat.fetching import fetch_thumbnail
from slidehook.errors import CannotStore
from slidehook.models import ImageInfo
from slidehook.pixels.overview import thumbnail_of
from slidehook.private import open_private
from slidehook.slide import open_slide

log = structlog.get_logger()


def keep_overview(place: Path | None, info: ImageInfo, file: Path | None, access: DpatAccess | None) -> Path | None:
    """Make a slide's overview at `place` unless it is there: of DPAT's tiles, else of the slide's `file`.

    None where none is wanted, or neither can give one. Raises SlideUnreadable, TokenExpired and CannotStore.
    """
    if place is None or place.is_file():
        return place
    picture = fetch_thumbnail(access.client, info) if access is not None else None
    source = "tiles"
    if picture is None and file is not None:
        source = "file"
        with open_slide(file) as slide:
            picture = thumbnail_of(slide, file)
    if picture is None:
        return None
    log.info("overview made", source=source, size=f"{picture.width}x{picture.height}")
    aside = place.with_name(f"{place.name}.{os.getpid()}.part")
    try:
        with storing(place.name):
            with open_private(aside) as target:
                picture.save(target, "PNG")
            aside.rename(place)
    except CannotStore:
        aside.unlink(missing_ok=True)
        raise
    return place
