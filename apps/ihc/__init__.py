"""Counts nuclei that are positive for DAB in the regions that the user drew; the user can correct each call.

Method. The picture, at about 0.5 µm per pixel, is separated into haematoxylin and DAB (`slidehook.stains`: Ruifrok
and Johnston 2001). Nuclei are found by both stains, or by haematoxylin alone where DAB lies round them
(`apps.ihc.nuclei`). A nucleus is positive when the mean optical density of DAB in it, or in a ring round it, reaches
`positive_from`. A nucleus belongs to a region when its middle lies in it; where regions overlap it counts in each,
but once in the total. The DAB area is the share of the region's pixels whose DAB reaches `dab_area_from`; nuclei per
mm² are of the region too, glass included. The parameters: `apps.ihc.params.IhcParams`.

Corrections. The gallery shows at most `most_patches` nuclei of each tag, drawn by lot. A patch that the user moves
counts as one nucleus more of its new tag and one less of the old; nothing is concluded from it for nuclei that are
not shown. The numbers are counted anew whenever the changed gallery comes back, at the latest with "Recount".

Limits. One threshold for all slides: check it against your own stain, antibody and scanner before you believe a
percentage. No cell type is told from another: stroma and lymphocytes count like tumour. Nuclei that overlap, and pale
ones under strong DAB, are missed; very dark DAB can look like nuclei. Pigment (melanin, haemosiderin) passes for DAB.
Nothing is counted where a region is too small, too dark, blurred, without haematoxylin or in other colours
(`apps.ihc.checks`); what that does not notice is counted all the same. For research use.
"""

from __future__ import annotations

import math

import shapely

from apps.ihc.counting import Looker, Lot, Tally, look_at_all
from apps.ihc.nuclei import REACH_UM
from apps.ihc.params import IhcParams
from apps.ihc.table import FROM, REGIONS, SHOWN, TAGS, Row, of_region, recount, rows, summary
from slidehook import App, AppError, Button, Gallery, ImageInfo, MultiArea, PixelPoint, Progress, Result, Slide
from slidehook.regions import Region
from slidehook.stains import Colour, glass_colour
from slidehook.tissue import overview

TILE_PX = 1024
COARSEST = 1.5
"""How many times larger than asked for a slide's own pixels may be."""
OVERVIEW_MPP, OVERVIEW_PX = 32.0, 512
"""The glass is looked at in an overview as coarse as this, finer where it would have fewer pixels along its side."""
MOST_ROWS = 20
"""How many regions have rows of their own in the table."""


class Ihc(App):
    """Positive and negative nuclei in the user's regions, for nuclear, membrane and cytoplasm stains with DAB."""

    id = "ihc"
    name = "IHC: positive nuclei"
    version = "1.0"
    input = MultiArea()
    needs = ("tiles",)

    params: IhcParams = IhcParams()

    def accepts(self, image: ImageInfo) -> bool:
        """Take no image on import: nobody has drawn a region on it."""
        del image
        return False

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        """Count; raises AppError when there is no region, or the slide is too coarse or too dark to be measured."""
        regions = slide.regions
        if not regions:
            raise AppError("no region was drawn, and nuclei are counted in regions only")
        if slide.mpp > COARSEST * self.params.mpp:
            raise AppError(f"a pixel of the slide is {slide.mpp:g} µm wide: too coarse to tell nuclei apart")
        areas = [slide.pixel_size.mm2(each.area_px) for each in regions]
        whole = slide.pixel_size.mm2(shapely.union_all([each.polygon for each in regions]).area)
        slide.receipt.analysed_mm2 = whole
        result = Result("")
        for each in regions:
            result.polygon(each.points)
        if why := self._too_small(areas):
            return _not_counted(result, why)
        tally = self._count(slide, regions, progress)
        if why := _first([each.complaint for each in tally.each]):
            return _not_counted(result, why)
        result.properties = self._table(tally, whole, areas)
        result.text = summary(result.properties)
        result.gallery = self._gallery(tally)
        return result

    def on_modify(self, result: Result) -> Result:
        """Count anew, with what the user has moved; raises AppError when the result is not this app's."""
        return recount(result)

    def _too_small(self, areas_mm2: list[float]) -> str:
        least = self.params.smallest_region_mm2
        return _first([f"too small ({each:.5f} mm²)" if each < least else "" for each in areas_mm2])

    def _count(self, slide: Slide, regions: tuple[Region, ...], progress: Progress) -> Tally:
        params = self.params
        progress(0, "looking at the glass")
        look, tally = Looker(regions, params, _glass(slide)), Tally(len(regions), params)
        left, top, right, bottom = shapely.total_bounds([each.polygon for each in regions])
        extent = math.ceil(max(right - left, bottom - top) * slide.mpp / params.mpp)
        before = slide.receipt.tiles_read
        margin = math.ceil(REACH_UM / params.mpp)
        tiles = slide.tiles(mpp=params.mpp, size=min(TILE_PX, extent), region=regions, margin=margin)
        planned = slide.receipt.tiles_read - before
        for done, found in enumerate(look_at_all(look, tiles), 1):
            tally.add(found)
            progress(100 * done / planned, f"{tally.all.nuclei} nuclei")
        return tally

    def _table(self, tally: Tally, whole_mm2: float, areas_mm2: list[float]) -> dict[str, Row]:
        params = self.params
        table = rows(tally.all, whole_mm2)
        table["DAB measured in"] = (
            "the nucleus" if params.compartment == "nucleus" else f"a ring of {params.ring_um:g} µm round the nucleus"
        )
        table[FROM] = params.positive_from
        table[SHOWN] = len(tally.positive.rows) + len(tally.negative.rows)
        if len(areas_mm2) > 1:
            table[REGIONS] = len(areas_mm2)
            for number, (count, area) in enumerate(zip(tally.each[:MOST_ROWS], areas_mm2, strict=False), 1):
                table |= rows(count, area, prefix=of_region(number))
        return table

    def _gallery(self, tally: Tally) -> Gallery | None:
        """Show the nuclei, palest DAB first; None without any."""
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
    def part(lot: Lot, total: int, tag: str) -> str:
        return f"{len(lot.rows)} of {total} {tag}"

    parts = (part(tally.positive, tally.all.positive, TAGS[0]), part(tally.negative, tally.all.negative, TAGS[1]))
    return f"{' and '.join(parts)} nuclei. Move what is wrong to the other tag, then press Recount."


def _glass(slide: Slide) -> Colour:
    """Give the glass's colour; raises AppError when the slide is too dark to tell a stain."""
    longest_um = max(slide.frame.width, slide.frame.height) * slide.mpp
    mpp = max(slide.mpp, min(OVERVIEW_MPP, longest_um / OVERVIEW_PX))
    colour = glass_colour(overview(slide, mpp=mpp))
    if colour is None:
        raise AppError("the slide is too dark: no glass can be told on it, so no stain can be measured")
    return colour


def _first(complaints: list[str]) -> str:
    """Make a sentence of the first complaint that there is, about the region with its number."""
    for number, why in enumerate(complaints, 1):
        if why:
            return f"region {number} is {why}" if len(complaints) > 1 else f"the region is {why}"
    return ""


def _not_counted(result: Result, why: str) -> Result:
    result.text = f"not counted: {why}"
    result.properties = {"Not counted": why}
    return result
