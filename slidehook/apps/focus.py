"""Measures the sharpness of the tissue, outlines blurred parts, and returns the percentage of tissue in focus.

Method. The tissue is divided into cells of 64 x 64 pixels at about 0.5 µm per pixel. A cell's structure function D(k)
is the mean squared difference of brightness between pixels k apart (k = 1, 2, 4; in rows and in columns). D grows as
k squared where the picture is smooth, and as k at sharp edges, so the cell's exponent log2((D4 - D2) / (D2 - D1)) is
near 2 in blurred cells, and 1 or less in sharp ones. The strength of the stain and the brightness of the lamp cancel
out in the ratio. Noise cancels out in the differences, since it adds the same amount to each D. (Vollath 1987
measured focus by differences of the autocorrelation at several lags; the exponent is Kolmogorov's, 1941.) In
pictures of sharp tissue (colon, DAB; tumour, H&E), nearly all cells had exponents below 1.1. After a Gaussian blur
they were 1.0 to 1.5 (standard deviation 0.5 µm) or 1.5 to 1.8 (1 µm). Each cell is judged by a majority vote of the
5 x 5 cells around it.

Limits. Blur below 0.5 µm is not detected. Tissue without detail (mucus, oedema, fat) is judged only by its
neighbours' vote, if at all. The same applies to tissue that has lost its detail in a strong blur. Therefore the text
states the judged percentage if it is low, and the judged part alone never makes a slide OK. Pale tissue that fades
slowly is taken for blurred. Sharp dirt on the cover slip (dust, pen) counts as sharp. Very noisy pictures of pale
stains look sharper than they are, and in noisy JPEGs some parts blurred by about 5 µm are taken for sharp. A slide
scanned at 10x can't be judged. For research use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from slidehook import App, AppError, Mask, Pixels, Progress, Quality, Result, Slide, WholeSlide
from slidehook.measuring.tissue import outlines, overview, tissue_mask

OVERVIEW_MPP = 8.0
"""The resolution at which tissue is detected, in µm per pixel."""
CELL_PX = 64
"""The side of a cell, in pixels at `mpp`."""
TILE_CELLS = 8
"""The width and height of a tile, in cells."""
LINE_STEP = 4
"""Only every fourth row and column is measured, which is faster and equally accurate."""
VOTERS, LEAST_VOTES = 5, 3
"""The side of the square of voting cells, and the least number of cells that must vote."""
LEAST_TISSUE = 0.5
"""The least fraction of tissue in a cell that is measured and votes."""
NEARLY_ALL = 90.0
"""If less than this percentage of the tissue was judged, the text states it."""
TOO_LITTLE = "with too little tissue"
"""The reason for tiles that are not read, in the result's table."""
ORANGE = "#E8590C"

Values = NDArray[np.float32]
"""One value per cell: shape (rows, columns)."""


class FocusParams(BaseModel, frozen=True, extra="forbid"):
    """The parameters that a site can set."""

    mpp: float = Field(0.5, ge=0.2, le=2)
    """The resolution in µm per pixel; the nearest power-of-two multiple of the slide's own pixel size is used."""
    blurred_above: float = Field(1.4, gt=0, lt=2)
    """The exponent above which a cell is blurred; a lower value detects weaker blur, but also more false blur."""
    least_texture: float = Field(12.0, ge=0)
    """A cell with less contrast, D4 - D2 in squared grey levels (0…255), has too little detail to be judged."""
    smallest_mm2: float = Field(0.02, ge=0)
    """Blurred parts smaller than this are counted, but not outlined."""
    pens: bool = True
    """Whether to detect pen marks; set it to false for blue and green stains."""
    set_quality: bool = False
    """Whether to set the slide's quality in DPAT."""
    min_percent_in_focus: float = Field(80.0, ge=0, le=100)
    """A slide with a lower percentage in focus is rejected. The quality is OK only if at least this percentage of all
    the tissue is in focus; otherwise it is not set, because the tissue that was not judged may be blurred."""


class Focus(App):
    """Outlines the blurred parts of the tissue, returns the percentage in focus, and can set DPAT's quality."""

    id = "focus"
    name = "Focus"
    input = WholeSlide()
    needs = ("files",)

    params: FocusParams = FocusParams()

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        """Measure the tissue's sharpness; raises AppError if the slide's pixels are too coarse."""
        mpp = judging_mpp(slide.mpp, self.params.mpp)
        progress(0, "looking for tissue")
        tissue = tissue_mask(overview(slide, mpp=OVERVIEW_MPP), mpp=OVERVIEW_MPP, pens=self.params.pens)
        cells = _Cells.over(slide, tissue, side=CELL_PX * mpp / slide.mpp)
        exponent = self._exponents(slide, cells, mpp, progress)
        votes = _votes(~np.isnan(exponent))
        blurred_votes = _votes(exponent > self.params.blurred_above)
        judged = tissue & cells.spread(votes >= LEAST_VOTES)
        blurred = judged & cells.spread(blurred_votes > votes / 2)
        return self._result(slide, tissue, judged, blurred, exponent)

    def _exponents(self, slide: Slide, cells: _Cells, mpp: float, progress: Progress) -> Values:
        """Return each cell's exponent; NaN if it has too little tissue or texture."""
        found = np.full(cells.enough.shape, np.nan, np.float32)
        before = slide.receipt.tiles_read
        marked = cells.spread(cells.enough)
        tiles = slide.tiles(mpp=mpp, size=TILE_CELLS * CELL_PX, where=marked, unread=TOO_LITTLE)
        planned = slide.receipt.tiles_read - before
        for done, tile in enumerate(tiles, 1):
            row, column = round(tile.y / cells.side), round(tile.x / cells.side)
            place = (slice(row, row + TILE_CELLS), slice(column, column + TILE_CELLS))
            enough = cells.enough[place]
            rows, columns = enough.shape
            exponent, texture = structure(tile.pixels)
            usable = enough & (texture[:rows, :columns] >= self.params.least_texture)
            found[place][usable] = exponent[:rows, :columns][usable]
            if not usable.any():
                slide.receipt.skip("without detail" if enough.any() else TOO_LITTLE)
            progress(5 + 90 * done / planned, f"{done} of {planned} tiles")
        return found

    def _result(self, slide: Slide, tissue: Mask, judged: Mask, blurred: Mask, exponent: Values) -> Result:
        frame = slide.frame
        pixel_px = frame.width * frame.height / tissue.size
        tissue_mm2, judged_mm2, blurred_mm2 = (
            slide.pixel_size.mm2(float(np.count_nonzero(each)) * pixel_px) for each in (tissue, judged, blurred)
        )
        slide.receipt.analysed_mm2 = judged_mm2
        if not judged_mm2:
            return Result("nothing to judge: no tissue with detail", {"Tissue (mm²)": round(tissue_mm2, 2)})
        percent = round(100 * (1 - blurred_mm2 / judged_mm2), 1)  # the quality is decided by the value that is shown
        judged_percent = 100 * judged_mm2 / tissue_mm2
        of_judged = "" if judged_percent >= NEARLY_ALL else f" of the {judged_percent:.0f} % that could be judged"
        result = Result(f"{percent:g} % in focus{of_judged}")
        result.properties = {
            "In focus (%)": percent,
            "Blurred (mm²)": round(blurred_mm2, 2),
            "Judged (mm²)": round(judged_mm2, 2),
            "Tissue (mm²)": round(tissue_mm2, 2),
            "Blur exponent, median": round(float(np.nanmedian(exponent)), 2),
        }
        if self.params.set_quality:
            result.quality = self._quality(percent, 100 * (judged_mm2 - blurred_mm2) / tissue_mm2)
        for polygon in outlines(blurred, frame):
            if slide.pixel_size.mm2(polygon.area) < self.params.smallest_mm2:
                break
            result.outline(polygon, colour=ORANGE)
        return result

    def _quality(self, of_judged: float, of_tissue: float) -> Quality | None:
        """Return the quality for these percentages in focus; None if it depends on the tissue that was not judged."""
        least = self.params.min_percent_in_focus
        if of_judged < least:
            return Quality.REJECTED
        return Quality.OK if of_tissue >= least else None


def judging_mpp(slide_mpp: float, wanted: float) -> float:
    """Return the resolution in µm per pixel: the slide's pixel size times a power of two, closest to `wanted`.

    Whole squares of pixels can then be averaged; any other resolution would be blurred by resampling.
    Raises AppError if the slide's own pixels are too coarse.
    """
    mpp = slide_mpp * 2.0 ** max(0, round(math.log2(wanted / slide_mpp)))
    if mpp > 1.5 * wanted:
        raise AppError(f"focus can't be judged at {slide_mpp:.2f} µm per pixel: {wanted:g} or less is needed")
    return mpp


def structure(pixels: Pixels) -> tuple[Values, Values]:
    """Return exponent and texture (D4 - D2, squared grey levels) of each cell of a tile: (rows, columns) of cells.

    `pixels`: uint8 RGB, a whole number of cells high and wide. The exponent is inf in cells without any fine detail.
    """
    high, wide = pixels.shape[0] // CELL_PX, pixels.shape[1] // CELL_PX
    in_rows = _brightness(pixels[::LINE_STEP]).reshape(high, -1, wide, CELL_PX)
    in_columns = _brightness(pixels[:, ::LINE_STEP]).reshape(high, CELL_PX, wide, -1)
    means = []
    for apart in (1, 2, 4):
        across = in_rows[..., apart:] - in_rows[..., :-apart]
        down = in_columns[:, apart:] - in_columns[:, :-apart]
        means.append((_mean_square(across) + _mean_square(down)) / np.float32(2))
    fine: Values = np.maximum(means[1] - means[0], 0)
    coarse: Values = np.maximum(means[2] - means[1], 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        exponent: Values = np.nan_to_num(np.log2(coarse / fine), nan=np.inf, posinf=np.inf, neginf=-np.inf)
    return exponent, coarse


def _brightness(pixels: Pixels) -> Values:
    """Return the luma, 0…255, with the weights of JPEG (Rec. 601)."""
    red, green, blue = (pixels[..., channel] * np.uint16(weight) for channel, weight in enumerate((77, 150, 29)))
    weighed: Values = (red + green + blue).astype(np.float32)
    return weighed / np.float32(256)


def _mean_square(differences: NDArray[np.float32]) -> Values:
    _, high, _, wide = differences.shape
    means: Values = np.einsum("abcd,abcd->ac", differences, differences) / np.float32(high * wide)
    return means


@dataclass(frozen=True)
class _Cells:
    """A grid of cells of `side` level-0 pixels over a slide; `enough` marks those with enough tissue.

    `rows`, `columns`: the cell index of each row and column of the tissue mask.
    """

    side: float
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    enough: Mask

    @classmethod
    def over(cls, slide: Slide, tissue: Mask, *, side: float) -> _Cells:
        height, width = (extent / count for extent, count in zip(_extent(slide), tissue.shape, strict=True))
        rows = ((np.arange(tissue.shape[0]) + 0.5) * height // side).astype(np.int64)
        columns = ((np.arange(tissue.shape[1]) + 0.5) * width // side).astype(np.int64)
        share = np.zeros((rows[-1] + 1, columns[-1] + 1))
        marked = np.nonzero(tissue)
        np.add.at(share, (rows[marked[0]], columns[marked[1]]), height * width / side**2)
        return cls(side, rows, columns, share >= LEAST_TISSUE)

    def spread(self, cells: Mask) -> Mask:
        """Expand a mask of cells to the shape of the tissue mask."""
        spread: Mask = cells[self.rows[:, None], self.columns]
        return spread


def _extent(slide: Slide) -> tuple[int, int]:
    return slide.frame.height, slide.frame.width


def _votes(cells: Mask) -> NDArray[np.int64]:
    """Count the marked cells in the square of voters around each cell."""
    counts: NDArray[np.int64] = (
        scipy.ndimage.uniform_filter(cells.astype(np.float64), VOTERS, mode="constant") * VOTERS**2
    )
    return np.rint(counts).astype(np.int64)
