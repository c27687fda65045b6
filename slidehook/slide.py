"""A slide as an app sees it."""

from __future__ import annotations

from math import inf
from pathlib import Path

from openslide import PROPERTY_NAME_MPP_X, OpenSlide, OpenSlideError
from PIL import Image

from slidehook.errors import SlideMismatch, SlideUnreadable
from slidehook.geometry import Frame
from slidehook.iaapi.models import ImageInfo

SIZE_TOLERANCE = 0.01
"""How far a file's size may be from DPAT's, as a part of the file's."""


class Slide:
    """One slide on disk: its record from DPAT, its files, and ways to read its pixels.

    `path` is the file that OpenSlide opens (its companions lie beside it). Close it, or use it in `with`.
    """

    def __init__(self, path: Path, info: ImageInfo, *, thumbnail: Path | None = None) -> None:
        self.path = path
        self.info = info
        self._thumbnail = thumbnail
        self._open: OpenSlide | None = None

    def open(self) -> OpenSlide:
        """Open the slide with OpenSlide, once; raises SlideUnreadable when OpenSlide can't read it."""
        if self._open is None:
            self._open = open_slide(self.path)
        return self._open

    def close(self) -> None:
        """Close what `open` opened."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def frame(self) -> Frame:
        """The slide's extent in level-0 pixels, as DPAT's record says, or the file where that does not say it.

        The file may be larger by the padding of its last tiles; raises SlideMismatch when the two differ by over
        `SIZE_TOLERANCE`, since results would then lie in the wrong place.
        """
        width, height = self.open().dimensions
        told = self.info.image_size
        if told is None or told.width <= 0 or told.height <= 0:
            return Frame(width, height)
        if abs(width - told.width) > SIZE_TOLERANCE * width or abs(height - told.height) > SIZE_TOLERANCE * height:
            raise SlideMismatch(
                f"the slide's file has {width} x {height} pixels, but DPAT says {told.width} x {told.height}"
            )
        return Frame(told.width, told.height)

    def thumbnail(self) -> Image.Image:
        """Give an RGB overview of the whole slide at about 64 µm per pixel.

        DPAT's own where it gave one, else made from the file.
        """
        if self._thumbnail is not None:
            with Image.open(self._thumbnail) as image:
                return image.convert("RGB")
        return render_thumbnail(self.open())


def open_slide(path: Path) -> OpenSlide:
    """Open `path` with OpenSlide; raises SlideUnreadable with the reason."""
    try:
        return OpenSlide(path)
    except (OpenSlideError, OSError) as error:
        raise SlideUnreadable(f"OpenSlide cannot read {path.name}: {error}") from error


THUMBNAIL_MPP = 64.0
"""What an overview aims at, in µm per pixel."""
THUMBNAIL_PIXELS = 512
"""The longer side of an overview of a slide that does not say its pixel size."""


def render_thumbnail(slide: OpenSlide) -> Image.Image:
    """Render an RGB overview at about `THUMBNAIL_MPP` from an open slide; raises SlideUnreadable."""
    width, height = slide.dimensions
    try:
        mpp = float(slide.properties.get(PROPERTY_NAME_MPP_X, 0))
    except ValueError:
        mpp = 0.0
    shrink = THUMBNAIL_MPP / mpp if 0 < mpp < inf else max(width, height) / THUMBNAIL_PIXELS
    size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    try:
        return slide.get_thumbnail(size).convert("RGB")
    except OpenSlideError as error:
        raise SlideUnreadable(f"OpenSlide cannot read the slide's pixels: {error}") from error


def find_slide_file(folder: Path) -> Path:
    """Find the file in `folder` that OpenSlide opens; raises SlideUnreadable when there is none.

    Of several (each instance of a DICOM series opens the whole), the first by name.
    """
    for path in sorted(folder.iterdir()):
        if path.is_file() and OpenSlide.detect_format(path) is not None:
            return path
    raise SlideUnreadable("none of the slide's files is in a format that OpenSlide reads")
