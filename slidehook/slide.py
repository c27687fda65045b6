"""A slide as an app sees it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import shapely
from openslide import OpenSlide, OpenSlideError
from PIL import Image

from slidehook.errors import AppError, NotOffered, SlideMismatch, SlideUnreadable
from slidehook.geometry import Frame
from slidehook.models import ImageInfo, Input, WholeSlideInput
from slidehook.pixels.bounds import Bounds, geojson_frame, stated_bounds
from slidehook.pixels.file_pixels import FilePixels
from slidehook.pixels.overview import thumbnail_of
from slidehook.pixels.size import PixelSize, pixel_size
from slidehook.pixels.source import Box, Pixels, PixelSource
from slidehook.pixels.tiles import Mask, Tile, TileBatch, TileReading, plan_tiles
from slidehook.regions import Region, regions_of
from slidehook.result import Result
from slidehook.results.receipt import Receipt
from slidehook.systems import SlideOrigin

SIZE_TOLERANCE = 0.01
"""The largest difference between a file's size and DPAT's, as a fraction of the file's."""


class Slide:
    """One slide on disk: its record from DPAT, its files, and ways to read its pixels.

    `path`: the file that OpenSlide opens (its companions are beside it); None if the app's `needs` request none.
    `tag`: the tag that the user gave the region, for an app with tags. `pixels`: the source of pixels if it is
    neither `path` nor `origin`; closed with the slide. `record_source`: the name of the source of `info`; default:
    the `origin`. Close the slide, or use it in `with`.
    """

    def __init__(
        self,
        path: Path | None,
        info: ImageInfo,
        *,
        thumbnail: Path | None = None,
        label: Path | None = None,
        drawn: Input | None = None,
        tag: str | None = None,
        origin: SlideOrigin | None = None,
        pixels: PixelSource | None = None,
        dependency: Result | None = None,
        record_source: str = "",
    ) -> None:
        self.path = path
        self.info = info
        self.tag = tag
        self._thumbnail = thumbnail
        self._label = label
        self._drawn = drawn or WholeSlideInput()
        self._origin = origin
        self._open: OpenSlide | None = None
        self._pixels = pixels
        if pixels is None and path is None and origin is not None and origin.is_at_hand:
            self._pixels = origin.pixels(info)
        self._record_source = record_source or (origin.title if origin is not None else "DPAT")
        self.dependency = dependency
        """The result of the app named in the app's `depends_on`, in this slide's level-0 pixels; None without one."""
        self.receipt = Receipt()
        """The record of what the result is based on; `read`, `tiles` and `mpp` add to it."""

    def open(self) -> OpenSlide:
        """Open the slide with OpenSlide on first use; raises SlideUnreadable when OpenSlide can't read it."""
        if self.path is None:
            raise AppError("the app opens the slide's file, which is not among its `needs`")
        if self._open is None:
            self._open = open_slide(self.path)
        return self._open

    def close(self) -> None:
        """Close the file and drop the tiles read over the network."""
        if self._pixels is not None:
            self._pixels.close()
            self._pixels = None
        if self._open is not None:
            self._open.close()
            self._open = None

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def frame(self) -> Frame:
        """The slide's extent in level-0 pixels, from DPAT's record, or from the file if the record lacks it.

        The file may be larger by the padding of its last tiles. Raises SlideMismatch when the two differ by more than
        `SIZE_TOLERANCE`, because results would then be drawn in the wrong place.
        """
        told = self.info.image_size
        if told is not None and min(told.width, told.height) <= 0:
            told = None
        if self.path is None:
            if told is None:
                raise SlideUnreadable("DPAT does not say how large the slide is")
            return Frame(told.width, told.height)
        width, height = self.open().dimensions
        if told is None:
            return Frame(width, height)
        if abs(width - told.width) > SIZE_TOLERANCE * width or abs(height - told.height) > SIZE_TOLERANCE * height:
            raise SlideMismatch(
                f"the slide's file has {width} x {height} pixels, but DPAT says {told.width} x {told.height}"
            )
        return Frame(told.width, told.height)

    @property
    def bounds(self) -> Bounds | None:
        """The scanned part of the slide according to its file, in level-0 pixels; None if absent or implausible."""
        opened = self._file()
        return None if opened is None else stated_bounds(opened)

    @property
    def how_read(self) -> str:
        """How pixels were read from the slide's file so far: "directly", "by OpenSlide", or both; empty if none."""
        return self._pixels.how_read if isinstance(self._pixels, FilePixels) else ""

    @property
    def geojson_frame(self) -> str:
        """The coordinate frame of this slide's GeoJSON, in words; empty if there is only one."""
        opened = self._file()
        return "" if opened is None else geojson_frame(opened)

    def _file(self) -> OpenSlide | None:
        if self.path is not None:
            return self.open()
        return self._pixels.opened if isinstance(self._pixels, FilePixels) else None

    def thumbnail(self) -> Image.Image:
        """Return an RGB overview of the whole slide at about 64 µm per pixel.

        It is DPAT's own if there is one, else computed from the file.
        """
        if self._thumbnail is not None:
            with Image.open(self._thumbnail) as image:
                return image.convert("RGB")
        return thumbnail_of(self.open(), self.path)

    # --- pixels

    @property
    def pixels(self) -> PixelSource:
        """The source of this slide's pixels: its file, or DPAT's tiles if the app's `needs` request no files."""
        if self._pixels is None:
            if self.path is not None or self._origin is None:
                self._pixels = FilePixels(self.open(), self.path)
            else:
                self._pixels = self._origin.pixels(self.info)
        return self._pixels

    @cached_property
    def pixel_size(self) -> PixelSize:
        """The size of a level-0 pixel and its source: the file, else the image record.

        A value that no scanner produces (outside 0.05…20 µm) or that contradicts the file's own objective is ignored.
        Raises PixelSizeUnknown when no value is left, and when the two sources differ by more than 5 %.
        """
        told = self.info.microns_per_pixel
        if self.path is None and self._pixels is None:
            # Without files, DPAT is the only source, whether or not the slide can be read in tiles.
            return pixel_size(None, told, record_source=self._record_source)
        source = self.pixels
        return pixel_size(source.stated_mpp, told, record_source=self._record_source, power=source.objective_power)

    @property
    def mpp(self) -> float:
        """µm per level-0 pixel; raises PixelSizeUnknown, which ends the analysis with the reason on the slide."""
        return self.pixel_size.mpp

    def read(self, x: float, y: float, width: float, height: float, *, mpp: float, exact: bool = False) -> Pixels:
        """Read a rectangle (level-0 pixels) at `mpp` µm per pixel: uint8 RGB (rows, columns, 3).

        White beyond the slide. `exact`: see `tiles`.
        Raises PixelSizeUnknown, SlideUnreadable, and over the network DpatError; ValueError on an empty rectangle.
        """
        if not (width > 0 and height > 0 and mpp > 0):
            raise ValueError(f"there is nothing in {width} x {height} pixels at {mpp} µm per pixel")
        scale = mpp / self.mpp
        columns, rows = max(1, round(width / scale)), max(1, round(height / scale))
        return self.pixels.read(Box(x, y, width, height), columns, rows, exact=exact)

    @overload
    def tiles(
        self,
        *,
        mpp: float,
        size: int,
        batch: None = ...,
        where: Mask | None = ...,
        least: float = ...,
        region: Region | Sequence[Region] | None = ...,
        margin: int = ...,
        readers: int | None = ...,
        exact: bool = ...,
        unread: str = ...,
    ) -> Iterator[Tile]: ...

    @overload
    def tiles(
        self,
        *,
        mpp: float,
        size: int,
        batch: int,
        where: Mask | None = ...,
        least: float = ...,
        region: Region | Sequence[Region] | None = ...,
        margin: int = ...,
        readers: int | None = ...,
        exact: bool = ...,
        unread: str = ...,
    ) -> Iterator[TileBatch]: ...

    def tiles(
        self,
        *,
        mpp: float,
        size: int,
        batch: int | None = None,
        where: Mask | None = None,
        least: float = 0.0,
        region: Region | Sequence[Region] | None = None,
        margin: int = 0,
        readers: int | None = None,
        exact: bool = False,
        unread: str = "not marked",
    ) -> Iterator[Tile] | Iterator[TileBatch]:
        """Read the slide tile by tile, row by row: `size` x `size` pixels at `mpp` µm per pixel.

        `batch`: the number of tiles to read into one array, see `TileBatch`; the next batch is read meanwhile.
        `where`: a mask, bool (rows, columns), stretched over the whole slide. Only tiles of which it marks at least
        the fraction `least` (0…1) are read; the receipt counts the others as `unread`.
        `region`: read only tiles that touch this region, or one of several. The grid begins at the upper left corner
        of their common bounds, rounded down to a whole pixel.
        `margin`: the width in pixels of the border of neighbouring pixels that is added to each tile.
        `readers`: threads that read ahead; default: one per core.
        `exact`: compute each pixel as the mean at full resolution, at any cost. Otherwise it comes from the slide's
        own levels, or from the decoder's downscaling where that is close to the mean. Raises as `read` does.
        """
        if size < 1 or margin < 0 or not mpp > 0 or (batch is not None and batch < 1):
            raise ValueError(f"there are no tiles of {size} pixels with a margin of {margin} at {mpp} µm per pixel")
        scale = mpp / self.mpp
        area, within = None, []
        if region is not None:
            within = [each.polygon for each in ([region] if isinstance(region, Region) else region)]
            if not within:
                raise ValueError("there are no tiles in no region")
            left, top, right, bottom = (float(each) for each in shapely.total_bounds(within))
            # A grid that starts between two pixels would be interpolated, and each tile would be rounded differently.
            left, top = math.floor(left / scale) * scale, math.floor(top / scale) * scale
            area = Box(left, top, right - left, bottom - top)
        plan = plan_tiles(self.frame, size * scale, area=area, within=within, where=where, least=least)
        self.receipt.read(len(plan.places))
        self.receipt.skip(unread, plan.left_out)
        reading = TileReading(self.pixels, plan, size, scale, margin=margin, exact=exact, readers=readers)
        return reading.tiles() if batch is None else reading.batches(batch)

    def label(self) -> Image.Image | None:
        """Return the image of the slide's label; None if there is none, or the site does not store labels."""
        if self._label is None:
            return None
        with Image.open(self._label) as image:
            return image.convert("RGB")

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """The regions that the user drew, in that order; empty for a whole slide."""
        return regions_of(self._drawn, self.frame)

    def case(self) -> list[ImageInfo]:
        """Ask DPAT for the images of the slide's case, this slide among them; one call.

        Raises NotOffered if DPAT is older than IA-API 1.9 or if there is no DPAT; see `slidehook.systems` for other
        errors.
        """
        if self._origin is None:
            raise NotOffered("there is no DPAT here that knows the slide's case")
        return self._origin.case()


def open_slide(path: Path) -> OpenSlide:
    """Open `path` with OpenSlide; raises SlideUnreadable."""
    try:
        return OpenSlide(path)
    except (OpenSlideError, OSError) as error:
        raise SlideUnreadable.said_by(error, "the slide's file") from error


def find_slide_file(folder: Path) -> Path:
    """Find the file in `folder` that OpenSlide opens; raises SlideUnreadable when there is none.

    If it opens several (any instance of a DICOM series opens the whole series), the first by name is returned.
    """
    for path in sorted(folder.iterdir()):
        if path.is_file() and OpenSlide.detect_format(path) is not None:
            return path
    raise SlideUnreadable("none of the slide's files is in a format that OpenSlide reads")
