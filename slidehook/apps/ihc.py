"""Counts nuclei that are positive for DAB in the user's regions; the user can correct each classification.

Method. The picture is read at about 0.5 µm per pixel and separated into haematoxylin and DAB (Ruifrok and Johnston
2001: `slidehook.measuring.stains`). Nuclei are found by both stains, or by haematoxylin alone where DAB lies around
them (`slidehook.measuring.nuclei`). A nucleus is positive if the mean optical density of DAB in it, or in a ring
around it, reaches `positive_from`. A nucleus belongs to a region if its centre lies in it. Where regions overlap, the
nucleus counts in each, but only once in the total. The DAB area is the fraction of the region's pixels whose DAB
reaches `dab_area_from`; nuclei per mm² also refer to the region's area, glass included.

Corrections. The gallery shows at most `most_patches` nuclei per tag, selected at random. A patch that the user moves
adds one nucleus to its new tag and removes one from the old; nuclei that are not shown are not changed. The numbers
are recounted whenever DPAT sends the changed gallery back, at the latest on "Recount".

Limits. The threshold is the same for all slides: validate it for your stain, antibody and scanner before you trust a
percentage. Cell types are not distinguished: stroma and lymphocytes count like tumour. Overlapping nuclei, and pale
ones under strong DAB, are missed; very dark DAB can look like nuclei. Pigment (melanin, haemosiderin) counts as DAB.
Nothing is counted if a region is too small, too dark, without haematoxylin, in other colours, or blurred or without
detail in over a quarter of its tissue (`slidehook.measuring.measurable`). Regions that these checks miss are counted.
For research use.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from slidehook import (
    App,
    AppError,
    Button,
    Gallery,
    ImageInfo,
    MultiArea,
    PixelPoint,
    Pixels,
    Progress,
    Region,
    Result,
    Slide,
    Tile,
    ordered_map,
)
from slidehook.measuring import calls
from slidehook.measuring.calls import TAGS, Count, ReservoirSample
from slidehook.measuring.glass import Colour, require_glass
from slidehook.measuring.measurable import OTHER_STAIN, QualityMaps, Sums
from slidehook.measuring.nuclei import REACH_UM, Dab, find_nuclei, measure_nuclei
from slidehook.measuring.overlaps import Floats
from slidehook.measuring.stainings import is_special_stain
from slidehook.measuring.stains import DAB, HAEMATOXYLIN, Deconvolution, Density, Stained
from slidehook.measuring.tissue import overview

TILE_PX = 1024
COARSEST = 1.5
"""The largest ratio of the slide's own pixel size to the requested one."""
OVERVIEW_MPP, OVERVIEW_PX = 32.0, 512
"""The glass is measured in an overview of at most this many µm per pixel and, if possible, at least this many pixels
along the longer side."""
MOST_ROWS = 20
"""The most regions with separate rows in the table."""
MOST_CORNERS, MOST_PATCHES = 10_000, 2000
"""The most corners of all regions together, and the most patches per tag; a recount sends them all back."""
LEAST_SHARP = {"nucleus": 0.45, "cell": 0.5}
"""The sharpness below which a picture is blurred; thin membranes are affected sooner than nuclei."""


class IhcParams(BaseModel, frozen=True, extra="forbid"):
    """The parameters that a site can set. Densities are optical densities to base 10 along the stain's colour."""

    compartment: Literal["nucleus", "cell"] = "nucleus"
    """Where the DAB is measured: in the nucleus (Ki-67, ER, PR), or in a ring around it, for stains of the membrane
    and the cytoplasm (HER2, CD3, cytokeratin). Nuclei are found by both stains, or by haematoxylin alone."""
    ring_um: float = Field(3.0, ge=1, le=10)
    """The ring's width."""
    positive_from: float = Field(0.2, gt=0, le=3)
    """The least mean density of DAB, in the nucleus or the ring, of a positive nucleus."""
    dab_area_from: float = Field(0.2, gt=0, le=3)
    """The least density of DAB in a pixel of the DAB area."""
    nucleus_contrast: float = Field(0.1, gt=0, le=1)
    """The least excess of a nucleus's density over its surroundings; a lower value finds paler and false ones."""
    pale_contrast: float = Field(0.04, gt=0, le=1)
    """The same for pale nuclei, which must also have the edge and shape of a nucleus. Not used for `cell`."""
    smallest_um2: float = Field(10.0, gt=0)
    largest_um2: float = Field(400.0, gt=0, le=1000)
    """The area of the smallest and the largest nucleus."""
    mpp: float = Field(0.5, ge=0.25, le=0.75)
    """The resolution in µm per pixel. A slide whose own pixels are more than 1.5 times as large is refused."""
    smallest_region_mm2: float = Field(0.001, ge=0)
    """A smaller region is not counted."""
    most_patches: int = Field(500, ge=1, le=MOST_PATCHES)
    """The most patches per tag in the gallery; of more nuclei, a random selection is shown."""
    haematoxylin: Colour = HAEMATOXYLIN
    dab: Colour = DAB
    """The stains' colours: their absorption of red, green and blue."""
    allowed_stainings: tuple[str, ...] = ()
    """Names of stainings in the image record that are counted although they look like those of other stains."""

    @property
    def own_colours(self) -> bool:
        """Whether the site has set the stains' colours."""
        return (self.haematoxylin, self.dab) != (HAEMATOXYLIN, DAB)

    @model_validator(mode="after")
    def _makes_sense(self) -> IhcParams:
        if self.smallest_um2 > self.largest_um2:
            raise ValueError("smallest_um2 is above largest_um2")
        Deconvolution(self.haematoxylin, self.dab)
        return self


class Ihc(App):
    """Counts positive and negative nuclei in the user's regions, for nuclear, membrane and cytoplasmic DAB stains."""

    id = "ihc"
    name = "IHC: positive nuclei"
    input = MultiArea()
    needs = ("tiles",)
    max_polygons = max_points = MOST_CORNERS  # the recount needs every region unchanged

    params: IhcParams = IhcParams()

    def accepts(self, image: ImageInfo) -> bool:
        """Return False: an imported image has no region."""
        del image
        return False

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        """Count nuclei; raises AppError if there is no region, or the slide is too coarse or too dark."""
        regions = slide.regions
        if not regions:
            raise AppError("no region was drawn, and nuclei are counted in regions only")
        result = Result("")
        for each in regions:
            result.outline(each.polygon)
        if (corners := sum(len(each.points) for each in result.shapes)) > MOST_CORNERS:
            raise AppError(
                f"the regions have {corners:,} corners: {MOST_CORNERS:,} at most can be counted and corrected"
            )
        if slide.mpp > COARSEST * self.params.mpp:
            raise AppError(f"a pixel of the slide is {slide.mpp:g} µm wide: too coarse to tell nuclei apart")
        if why := self._other_staining(slide.info.staining.display_name):
            _refuse(result, why)
            return result
        areas = [slide.pixel_size.mm2(each.area_px) for each in regions]
        whole = slide.pixel_size.mm2(shapely.union_all([each.polygon for each in regions]).area)
        slide.receipt.analysed_mm2 = whole
        if _refused(result, regions, self._too_small(areas)):
            return result
        progress(0, "looking at the glass")
        white = _glass(slide)
        tally = self._count(slide, regions, white, progress)
        if _refused(result, regions, [each.complaint for each in tally.each]):
            return result
        result.properties = self._table(tally, whole, areas) | _holes(regions)
        result.properties["Glass (red, green, blue)"] = ", ".join(f"{each:.0f}" for each in white)
        result.text = calls.summary(result.properties)
        result.gallery = self._gallery(tally)
        return result

    def on_modify(self, result: Result) -> Result:
        """Recount with the user's corrections; raises AppError if the result is not this app's."""
        return calls.recount(result)

    def _other_staining(self, name: str) -> str:
        """Return why the image record excludes DAB; empty if it does not, or if the site allows the staining."""
        allowed = {each.strip().casefold() for each in self.params.allowed_stainings}
        if name.strip().casefold() in allowed or not is_special_stain(name):
            return ""
        return f"the slide is {OTHER_STAIN}: its record says {name!r}"

    def _too_small(self, areas_mm2: list[float]) -> list[str]:
        least = self.params.smallest_region_mm2
        return [f"too small ({each:.5f} mm²)" if each < least else "" for each in areas_mm2]

    def _count(self, slide: Slide, regions: tuple[Region, ...], white: Colour, progress: Progress) -> Tally:
        params = self.params
        look, tally = TileAnalyzer(regions, params, white), Tally(len(regions), params)
        left, top, right, bottom = shapely.total_bounds([each.polygon for each in regions])
        extent = math.ceil(max(right - left, bottom - top) * slide.mpp / params.mpp)
        before = slide.receipt.tiles_read
        margin = math.ceil(REACH_UM / params.mpp)
        tiles = slide.tiles(mpp=params.mpp, size=min(TILE_PX, extent), region=regions, margin=margin)
        planned = slide.receipt.tiles_read - before
        cores = len(os.sched_getaffinity(0))
        for done, found in enumerate(ordered_map(look, tiles, threads=cores, max_pending=cores, name="ihc"), 1):
            tally.add(found)
            progress(100 * done / planned, f"{tally.all.nuclei} nuclei")
        return tally

    def _table(self, tally: Tally, whole_mm2: float, areas_mm2: list[float]) -> dict[str, calls.Row]:
        params = self.params
        table = calls.rows(tally.all, whole_mm2)
        table["DAB measured in"] = (
            "the nucleus" if params.compartment == "nucleus" else f"a ring of {params.ring_um:g} µm round the nucleus"
        )
        table[calls.FROM] = params.positive_from
        table[calls.SHOWN] = len(tally.positive.rows) + len(tally.negative.rows)
        if len(areas_mm2) > 1:
            table[calls.REGIONS] = len(areas_mm2)
            for number, (count, area) in enumerate(zip(tally.each[:MOST_ROWS], areas_mm2, strict=False), 1):
                table |= calls.rows(count, area, prefix=calls.of_region(number))
        return table

    def _gallery(self, tally: Tally) -> Gallery | None:
        """Return a gallery of the nuclei, palest DAB first; None without nuclei."""
        if not tally.all.nuclei:
            return None
        shown = {TAGS[0]: tally.positive, TAGS[1]: tally.negative}
        gallery = Gallery(
            TAGS[:],
            description=_description(tally),
            buttons=[Button("recount", "Recount", "Count anew with the patches that you have moved")],
        )
        for tag, lot in shown.items():
            for x, y, density in lot.rows.tolist():
                gallery.add(tag, PixelPoint(x, y), sort_key=density)
        return gallery


def _description(tally: Tally) -> str:
    def part(lot: ReservoirSample, total: int, tag: str) -> str:
        return f"{len(lot.rows)} of {total} {tag}"

    parts = (part(tally.positive, tally.all.positive, TAGS[0]), part(tally.negative, tally.all.negative, TAGS[1]))
    return f"{' and '.join(parts)} nuclei. Move what is wrong to the other tag, then press Recount."


def _glass(slide: Slide) -> Colour:
    """Return the glass's colour; raises AppError if the slide, or its background, is dark."""
    longest_um = max(slide.frame.width, slide.frame.height) * slide.mpp
    mpp = max(slide.mpp, min(OVERVIEW_MPP, longest_um / OVERVIEW_PX))
    return require_glass(overview(slide, mpp=mpp))


def _holes(regions: tuple[Region, ...]) -> dict[str, calls.Row]:
    """Return the rows from which a recount identifies the holes among the outlines; empty without holes."""
    holes = [len(each.polygon.interiors) for each in regions]
    if len(regions) == 1 or not any(holes):
        return {}
    each_one = {f"{calls.of_region(number)}{calls.HOLES}": of for number, of in enumerate(holes[:MOST_ROWS], 1) if of}
    return {calls.HOLES: sum(holes), **each_one}


def _refused(result: Result, regions: tuple[Region, ...], complaints: list[str]) -> bool:
    """Add the first of the complaints to the result; if there are several regions, label the one concerned.

    Returns False if there is no complaint.
    """
    for number, why in enumerate(complaints, 1):
        if why:
            sentence = f"the region is {why}"
            if len(regions) > 1:
                result.label(regions[number - 1].points[0], str(number))
                sentence = f"region {number} is {why}"
            _refuse(result, sentence)
            return True
    return False


def _refuse(result: Result, sentence: str) -> None:
    result.text = f"not counted: {sentence}"
    result.properties = {"Not counted": sentence}


# --- tile by tile


@dataclass(frozen=True)
class Found:
    """The measurements of one tile.

    For each nucleus: its position in level-0 pixels, its DAB density, whether the picture is sharp there, whether the
    nucleus has hardly any haematoxylin, and its regions, bool (nuclei, regions). `sums`: first for all regions
    together, then for each.
    """

    x: Floats
    y: Floats
    density: Floats
    sharp: NDArray[np.bool_]
    pale: NDArray[np.bool_]
    regions: NDArray[np.bool_]
    sums: tuple[Sums, ...]


class TileAnalyzer:
    """Measures tiles; has no state, so several threads can call it."""

    def __init__(self, regions: Sequence[Region], params: IhcParams, white: Colour) -> None:
        self._regions = regions
        self._params = params
        self._white = white
        self._deconvolution = Deconvolution(params.haematoxylin, params.dab, white=white)

    def __call__(self, tile: Tile) -> Found:
        """Measure a tile and its nuclei; nuclei centred in the margin belong to neighbouring tiles."""
        params = self._params
        stained = self._deconvolution(tile.pixels)
        labels = find_nuclei(
            self._nuclear(stained),
            mpp=params.mpp,
            contrast=params.nucleus_contrast,
            smallest_um2=params.smallest_um2,
            largest_um2=params.largest_um2,
            dab=self._dab(tile.pixels, stained),
        )
        ring_px = params.ring_um / params.mpp if params.compartment == "cell" else None
        nuclei = measure_nuclei(labels, stained.second, ring_px=ring_px)
        column, row = nuclei.column - tile.margin, nuclei.row - tile.margin
        size = tile.pixels.shape[0] - 2 * tile.margin
        own = (column >= 0) & (column < size) & (row >= 0) & (row < size)
        x, y = tile.x + column * tile.scale, tile.y + row * tile.scale
        member = np.stack([shapely.contains_xy(each.polygon, x, y) for each in self._regions], axis=1)
        own &= member.any(axis=1)
        examined = QualityMaps(
            tile.pixels,
            stained,
            mpp=params.mpp,
            white=self._white,
            dab_from=params.dab_area_from,
            least_sharp=LEAST_SHARP[params.compartment],
        )
        sharp = examined.sharp[nuclei.row.astype(int), nuclei.column.astype(int)]
        density = np.round(nuclei.density, calls.DECIMALS)
        pale = measure_nuclei(labels, stained.first).density < calls.PALE
        sums = self._sums(tile, size, examined)
        return Found(x[own], y[own], density[own], sharp[own], pale[own], member[own], sums)

    def _dab(self, pixels: Pixels, stained: Stained) -> Dab | None:
        """Return the DAB in the nuclei; None if the stain lies around them."""
        if self._params.compartment == "cell":
            return None
        scanned = pixels.min(axis=2) < 255  # pure white is beyond the slide, or not scanned
        return Dab(stained.second, self._params.positive_from, self._params.pale_contrast, scanned)

    def _nuclear(self, stained: Stained) -> Density:
        """Return the density in which nuclei are found, without DAB if it lies around them, as it would hide them."""
        if self._params.compartment == "cell":
            return stained.first
        return np.maximum(stained.first, 0) + np.maximum(stained.second, 0)

    def _sums(self, tile: Tile, size: int, examined: QualityMaps) -> tuple[Sums, ...]:
        """Return the sums over the tile without its margin (`size` x `size`): all regions together, then each."""
        core, together = (np.zeros(tile.pixels.shape[:2], np.bool_) for _ in range(2))
        own = slice(tile.margin, tile.margin + size)
        core[own, own] = True
        side = size * tile.scale
        box = shapely.box(tile.x, tile.y, tile.x + side, tile.y + side)
        each = []
        for region in self._regions:
            if not shapely.intersects(region.polygon, box):
                each.append(Sums())
                continue
            mask = tile.inside(region.polygon) & core
            together |= mask
            each.append(examined.sums(mask))
        return (examined.sums(together), *each)


class Tally:
    """Sums the measurements of all tiles."""

    def __init__(self, regions: int, params: IhcParams) -> None:
        self.all, *self.each = (Count(own_colours=params.own_colours) for _ in range(1 + regions))
        self._from = params.positive_from
        self.positive, self.negative = ReservoirSample(params.most_patches), ReservoirSample(params.most_patches)
        """A selection of the nuclei of each kind."""

    def add(self, found: Found) -> None:
        """Add a tile's measurements; tiles in the same order result in the same selection."""
        positive = found.density >= self._from
        for count, member, sums in zip(
            [self.all, *self.each], [np.ones(len(positive), np.bool_), *found.regions.T], found.sums, strict=True
        ):
            count.positive += int(np.count_nonzero(positive & member))
            count.negative += int(np.count_nonzero(~positive & member))
            count.pale += int(np.count_nonzero(found.pale & ~positive & member))
            count.unsharp += int(np.count_nonzero(~found.sharp & member))
            count.sums += sums
        nuclei = np.stack([found.x, found.y, found.density], axis=1)
        self.positive.add(nuclei[positive])
        self.negative.add(nuclei[~positive])
