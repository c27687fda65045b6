"""Reads images from slides: Deep Zoom tiles, thumbnails and labels."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass

import openslide
from openslide.deepzoom import DeepZoomGenerator
from PIL import Image

from slidehook.simulator.errors import NotFound, SlideDamaged
from slidehook.simulator.slides import Slide, Stamp

TILE_PX = 256
FORMATS = {"jpg": ("JPEG", "image/jpeg"), "jpeg": ("JPEG", "image/jpeg"), "png": ("PNG", "image/png")}
"""Pillow's format name and the MIME type for each extension of a tile's URL."""

OPEN_SLIDES = 16


@dataclass(frozen=True)
class OpenedSlide:
    """An open slide and its Deep Zoom view; both are thread-safe."""

    stamp: Stamp
    image: openslide.OpenSlide
    zoom: DeepZoomGenerator


class Pictures:
    """Keeps the most recently used slides open; a changed file is reopened."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: OrderedDict[str, OpenedSlide] = OrderedDict()

    def opened(self, slide: Slide) -> OpenedSlide:
        """Return the open slide; raises SlideDamaged when OpenSlide can't read it."""
        with self._lock:
            known = self._opened.get(slide.id)
            if known and known.stamp == slide.stamp:
                self._opened.move_to_end(slide.id)
                return known
            fresh = _open(slide)
            self._opened[slide.id] = fresh
            # Dropped, not closed: another thread may still read it. Its last reference closes it.
            while len(self._opened) > OPEN_SLIDES:
                self._opened.popitem(last=False)
            return fresh

    def tile(self, slide: Slide, level: int, col: int, row: int, extension: str) -> bytes:
        """Return an encoded tile of `TILE_PX`, smaller at the edges; level 0 is 1x1 pixel. Raises NotFound."""
        if extension not in FORMATS:
            raise NotFound(f"There are no tiles of the format {extension!r}.")
        zoom = self.opened(slide).zoom
        try:
            picture = zoom.get_tile(level, (col, row))
        except ValueError as error:
            raise NotFound(f"The slide {slide.id!r} has no tile {level}/{col}_{row}.") from error
        except openslide.OpenSlideError as error:
            self._forget(slide)
            raise SlideDamaged(f"OpenSlide can't read the slide {slide.id!r}: {error}.") from error
        return encode(picture, FORMATS[extension][0])

    def thumbnail(self, slide: Slide, size_px: int) -> bytes:
        """Return the whole slide as a JPEG whose longer side is at most `size_px`."""
        image = self.opened(slide).image
        try:
            return encode(image.get_thumbnail((size_px, size_px)), "JPEG")
        except openslide.OpenSlideError as error:
            self._forget(slide)
            raise SlideDamaged(f"OpenSlide can't read the slide {slide.id!r}: {error}.") from error

    def label(self, slide: Slide) -> bytes | None:
        """Return the label as a JPEG, from the file beside the slide or from the slide itself; None without one."""
        if slide.label_path.is_file():
            return slide.label_path.read_bytes()
        picture = self.opened(slide).image.associated_images.get("label")
        return encode(picture.convert("RGB"), "JPEG") if picture else None

    def _forget(self, slide: Slide) -> None:
        # After an error, OpenSlide fails every further call on the same handle.
        with self._lock:
            self._opened.pop(slide.id, None)


def encode(picture: Image.Image, name: str) -> bytes:
    """Encode the picture in one of Pillow's formats; JPEG at quality 85."""
    buffer = io.BytesIO()
    picture.save(buffer, name, quality=85)
    return buffer.getvalue()


def _open(slide: Slide) -> OpenedSlide:
    try:
        image = openslide.OpenSlide(slide.main_file)
    except openslide.OpenSlideError as error:
        raise SlideDamaged(f"OpenSlide can't open the slide {slide.id!r}: {error}.") from error
    zoom = DeepZoomGenerator(image, tile_size=TILE_PX, overlap=0, limit_bounds=False)
    return OpenedSlide(slide.stamp, image, zoom)
