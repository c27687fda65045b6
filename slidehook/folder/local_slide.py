"""A slide on this machine, for trying an app without DPAT."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from openslide import OpenSlide, OpenSlideError
from PIL import Image

from slidehook.errors import SlideUnreadable
from slidehook.models import ImageInfo, Input, Size
from slidehook.models.images import FileFormat
from slidehook.pixels.bounds import Bounds, stated_bounds
from slidehook.pixels.file_pixels import FilePixels, objective_power, stated_mpp
from slidehook.pixels.overview import thumbnail_of
from slidehook.pixels.size import plausible_mpp
from slidehook.result import Result
from slidehook.slide import Slide, find_slide_file, open_slide

CALLER = "the caller"
"""The source of a pixel size that the slide's file does not state: there is no DPAT."""
TILE_PX = 256
"""The side of DPAT's tiles, as stated in the image record of a local slide."""


def local_file(path: Path) -> Path:
    """Return the file that OpenSlide opens: `path`, or a file in it if it is a folder; raises SlideUnreadable."""
    if path.is_dir():
        return find_slide_file(path)
    if not path.exists():
        raise SlideUnreadable(f"there is no slide at {path}")
    return path


def is_slide(path: Path) -> bool:
    """Whether `path` is a file, or a folder in which OpenSlide finds a slide."""
    try:
        return path.is_file() or (path.is_dir() and find_slide_file(path).is_file())
    except (OSError, SlideUnreadable):
        return False


def local_id(path: Path) -> str:
    """Return the id of a local slide: its file's name without the extension, or its folder's name."""
    whole = path.absolute()
    return (whole.name if path.is_dir() else whole.stem) or "slide"


def local_info(path: Path, *, mpp: float | None = None) -> ImageInfo:
    """Create the image record of a slide on this machine; `mpp` is in µm per pixel, default: as the file states.

    The record lacks everything that only a scanner or a hospital's systems state. Raises SlideUnreadable.
    """
    with open_slide(local_file(path)) as opened:
        return _info(path, opened, mpp)


def local_bounds(path: Path) -> Bounds | None:
    """Return the part of a slide that its file states as scanned, or None. Raises SlideUnreadable."""
    with open_slide(local_file(path)) as opened:
        return stated_bounds(opened)


@contextmanager
def local_slide(
    path: str | Path,
    *,
    needs: Collection[str] = frozenset({"files", "thumbnail"}),
    drawn: Input | None = None,
    tag: str | None = None,
    mpp: float | None = None,
    with_label: bool = False,
    dependency: Result | None = None,
) -> Iterator[Slide]:
    """Return the slide at `path` (a file, or the folder of a DICOM series) as an app with these `needs` gets it.

    As in a worker, an app without `files` among them gets no path; its tiles come from the file. `drawn` and
    `tag` replace what a user draws. `with_label`: include the label, as with the setting `STORE_PHI`.
    Raises SlideUnreadable.
    """
    path = Path(path)
    file = local_file(path)
    with TemporaryDirectory(prefix="slidehook-") as folder, open_slide(file) as opened:
        slide = Slide(
            file if "files" in needs else None,
            _info(path, opened, mpp),
            thumbnail=_thumbnail(opened, file, Path(folder)) if "thumbnail" in needs else None,
            label=_label(opened, Path(folder)) if with_label and "label" in needs else None,
            drawn=drawn,
            tag=tag,
            pixels=FilePixels(opened, file),
            dependency=dependency,
            record_source=CALLER,
        )
        with slide:
            yield slide


def _info(path: Path, opened: OpenSlide, mpp: float | None) -> ImageInfo:
    width, height = opened.dimensions
    if mpp is None and (stated := plausible_mpp(stated_mpp(opened), objective_power(opened))) is not None:
        mpp = sum(stated) / 2
    vendor = opened.properties.get("openslide.vendor", "")
    return ImageInfo(
        id=local_id(path),
        is_streamable=True,
        image_size=Size(width=width, height=height),
        tile_size=Size(width=TILE_PX, height=TILE_PX),
        microns_per_pixel=mpp,
        file_format=FileFormat(mime_type="application/dicom" if vendor == "dicom" else f"image/{vendor or 'tiff'}"),
    )


def _thumbnail(opened: OpenSlide, file: Path, folder: Path) -> Path:
    path = folder / "thumbnail.png"
    thumbnail_of(opened, file).save(path)
    return path


def _label(opened: OpenSlide, folder: Path) -> Path | None:
    picture = label_of(opened)
    if picture is None:
        return None
    path = folder / "label.png"
    picture.save(path)
    return path


def label_of(opened: OpenSlide) -> Image.Image | None:
    """Read the label in a slide's file, RGB; None if it has none. Raises SlideUnreadable."""
    try:
        picture = opened.associated_images.get("label")
    except OpenSlideError as error:
        raise SlideUnreadable.said_by(error, "the slide's label") from error
    return None if picture is None else picture.convert("RGB")
