"""Creates a slide's overview, in the child that analyses it: a broken or huge picture must not crash a worker."""

from __future__ import annotations

from pathlib import Path

import structlog

from slidehook.disk import storing
from slidehook.models import ImageInfo
from slidehook.pixels.overview import thumbnail_of
from slidehook.private import replacing
from slidehook.slide import open_slide
from slidehook.systems import SlideOrigin

log = structlog.get_logger()


def keep_overview(place: Path | None, info: ImageInfo, file: Path | None, origin: SlideOrigin | None) -> Path | None:
    """Create a slide's overview at `place` unless it exists: from the slide's `origin`, else from its `file`.

    Returns None if `place` is None, or if no overview can be created. Raises SlideUnreadable, AccessExpired and
    CannotStore.
    """
    if place is None or place.is_file():
        return place
    picture = origin.overview(info) if origin is not None else None
    source = "tiles"
    if picture is None and file is not None:
        source = "file"
        with open_slide(file) as slide:
            picture = thumbnail_of(slide, file)
    if picture is None:
        return None
    log.info("overview made", source=source, size=f"{picture.width}x{picture.height}")
    with storing(place.name), replacing(place) as target:
        picture.save(target, "PNG")
    return place
