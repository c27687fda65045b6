"""Finds the tissue on a slide, outlines it and measures its area.

Method and limits: `slidehook.measuring.tissue`. The area is that within the outline, without holes. Outlines lie up
to one pixel of the overview (`mpp`) outside the tissue's edge, which adds about 1 % to the area of a section, and
more to that of a thin biopsy. For research use.
"""

from __future__ import annotations

from pydantic import BaseModel, Field

from slidehook import App, Progress, Result, Slide, WholeSlide
from slidehook.measuring.tissue import outlines, overview, tissue_mask

GREEN = "#2F9E44"


class TissueParams(BaseModel, frozen=True, extra="forbid"):
    """The parameters that a site can set."""

    mpp: float = Field(8.0, ge=1, le=32)
    """The resolution of the overview in which tissue is detected, in µm per pixel."""
    smallest_mm2: float = Field(0.05, ge=0)
    """The area of the smallest piece; pieces below 0.01 mm² are always ignored."""
    pens: bool = True
    """Whether to detect pen marks; set it to false for blue and green stains."""


class Tissue(App):
    """Outlines the tissue, and returns its area in mm²."""

    id = "tissue"
    name = "Tissue"
    input = WholeSlide()
    needs = ("tiles",)

    params: TissueParams = TissueParams()

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        """Find the tissue in an overview, which is read in parts."""
        progress(0, "reading an overview")
        pixels = overview(slide, mpp=self.params.mpp)
        progress(60, "looking for tissue")
        size = slide.pixel_size
        found = outlines(tissue_mask(pixels, mpp=self.params.mpp, pens=self.params.pens), slide.frame)
        pieces = [each for each in found if size.mm2(each.area) >= self.params.smallest_mm2]
        areas = [size.mm2(each.area) for each in pieces]
        whole = size.mm2(slide.frame.width * slide.frame.height)
        result = Result(f"{sum(areas):.2f} mm² tissue" if pieces else "no tissue found")
        result.properties = {
            "Tissue (mm²)": round(sum(areas), 2),
            "Tissue (% of the slide)": round(100 * sum(areas) / whole, 1),
            "Pieces": len(pieces),
            "Largest piece (mm²)": round(max(areas, default=0.0), 2),
        }
        for piece in pieces:
            result.outline(piece, colour=GREEN)
        return result
