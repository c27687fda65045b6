"""Separates overlapping nuclei by their density, and pale nuclei from streaks by edge and shape.

Method: within each object, Otsu's threshold ("A threshold selection method from gray-level histograms",
IEEE Transactions on Systems, Man, and Cybernetics 9 (1979), 62-66) separates a dense nucleus from a pale one beneath
it, if the two classes differ clearly and the rest of the pale one has the shape of a nucleus. An ellipse's area is
4π times the square root of the determinant of its pixels' covariance; any other shape has a smaller area.
"""

from __future__ import annotations

import math

import numpy as np
import scipy
from numpy.typing import NDArray
from skimage import measure, segmentation

from slidehook.measuring.stains import Density
from slidehook.pixels.tiles import Mask

Labels = NDArray[np.int32]
"""Shape (rows, columns): 0 outside nuclei, else the nucleus's number, from 1."""
Floats = NDArray[np.float64]

BINS, DENSEST = 48, 1.2
"""The histograms' number of bins, and their largest density."""
LEAST_RATIO, LEAST_STEP, LEAST_PARTED = 1.35, 0.05, 0.6
"""The least ratio and the least difference of the two classes' mean densities, and the least fraction of the variance
that lies between the classes."""
SMALLEST_UM2 = (10.0, 12.0)
"""The smallest dense and pale part."""
OPEN_UM, GAP_UM, RIM_UM = 0.75, 0.5, 1.25
"""The radii of specks in the dense part, of its blurred edge, and of rims that are too thin for a pale part."""
GROW_UM = 2.0
"""The distance over which removed pixels between the parts are returned to them."""
ELLIPSE, ROUGH_ELLIPSE = 0.8, 0.6
"""The least roundness of a pale nucleus, and of a pale nucleus as large as `LARGE_UM2`."""
PART_ELLIPSE = 0.85
SMALL_UM2, LARGE_UM2 = 15.0, 30.0
"""The smallest pale nucleus, and the size from which its shape may be rough."""
RING_UM = 2.0
EDGE_UM, LEAST_STEEP = 1.0, 0.02
"""The width inside and outside a pale nucleus's outline over which the density is compared, and the least difference;
a cloud in the background has less."""


def part_by_density(labels: Labels, density: Density, stain: Density, *, mpp: float, positive_from: float) -> Labels:
    """Divide objects that contain a dense and a pale nucleus; `density` should be smooth.

    The paler part is not a separate nucleus if its mean density of `stain` reaches `positive_from`, because staining
    within a positive nucleus is often patchy.
    """
    count = int(labels.max(initial=0))
    limit, doubtful = _otsu(labels, density, count)
    parts = doubtful[labels]
    dense = scipy.ndimage.binary_opening(parts & (density > limit[labels]), _disk(OPEN_UM / mpp))
    dense_parts = _large(np.where(dense, labels, 0), SMALLEST_UM2[0] / mpp**2)
    pale = parts & ~scipy.ndimage.binary_dilation(dense_parts > 0, _disk(GAP_UM / mpp))
    pale = scipy.ndimage.binary_opening(pale, _disk(RIM_UM / mpp))
    pale_parts = _large(np.where(pale, labels, 0), SMALLEST_UM2[1] / mpp**2)
    shaped = roundness(pale_parts) >= PART_ELLIPSE
    shaped &= _means(pale_parts, stain) < positive_from
    shaped[0] = False
    pale_parts = np.where(shaped[pale_parts], pale_parts, 0)
    both = np.isin(np.arange(count + 1), labels[dense_parts > 0]) & np.isin(
        np.arange(count + 1), labels[pale_parts > 0]
    )
    both[0] = False
    inside = both[labels]
    first = int(dense_parts.max(initial=0))
    seeds = np.where(dense_parts > 0, dense_parts, np.where(pale_parts > 0, pale_parts + first, 0))
    grown = segmentation.expand_labels(np.where(inside, seeds, 0), GROW_UM / mpp)
    parted: Labels = np.where(inside, np.where(grown > 0, grown + count, 0), labels).astype(np.int32)
    return parted


def without_streaks(labels: Labels, density: Density, scanned: Mask, *, mpp: float, clear: float) -> Labels:
    """Remove pale objects without an edge or a nucleus's shape; the other numbers are unchanged.

    An object that exceeds its surroundings by `clear` is not pale; only `scanned` pixels are surroundings.
    """
    count = int(labels.max(initial=0))
    away, (row, column) = scipy.ndimage.distance_transform_edt(labels == 0, return_indices=True)
    nearest = np.where((labels == 0) & scanned, labels[row, column], 0)
    around, near = (np.where(away <= each / mpp, nearest, 0) for each in (RING_UM, EDGE_UM))
    contrast = _means(labels, density, count) - _means(around, density, count)
    width = 2 * max(1, round(EDGE_UM / mpp)) + 1
    rim = np.where(
        scipy.ndimage.minimum_filter(labels, width) == scipy.ndimage.maximum_filter(labels, width), 0, labels
    )
    step = _means(rim, density, count) - _means(near, density, count)
    shape = roundness(labels)
    area = np.bincount(labels.ravel(), minlength=count + 1) * mpp**2
    shaped = ((shape >= ELLIPSE) & (area >= SMALL_UM2)) | ((shape >= ROUGH_ELLIPSE) & (area >= LARGE_UM2))
    wanted = (contrast >= clear) | (shaped & (step >= LEAST_STEEP))
    wanted[0] = False
    return np.where(wanted[labels], labels, 0).astype(np.int32)


def roundness(labels: Labels) -> Floats:
    """Return, for each number from 0, its area as a fraction of the area of the ellipse with the same covariance."""
    count = int(labels.max(initial=0))
    rows, columns = np.nonzero(labels)
    numbers = labels[rows, columns]
    area = np.maximum(np.bincount(numbers, minlength=count + 1), 1)

    def mean(values: NDArray[np.generic]) -> Floats:
        return np.bincount(numbers, values, count + 1) / area

    row, column = mean(rows), mean(columns)
    by_pixel = 1 / 12  # the variance within a pixel of width 1
    down, right = mean(rows * rows) - row**2 + by_pixel, mean(columns * columns) - column**2 + by_pixel
    both = mean(rows * columns) - row * column
    return area / (4 * math.pi * np.sqrt(np.maximum(down * right - both**2, by_pixel**2)))


def _otsu(labels: Labels, density: Density, count: int) -> tuple[Floats, Mask]:
    """Return Otsu's threshold for each number from 0, and whether the two classes differ enough."""
    inside = labels > 0
    bins = np.minimum((density[inside].clip(0, DENSEST) * (BINS / DENSEST)).astype(np.int64), BINS - 1)
    counts = np.bincount(labels[inside] * BINS + bins, minlength=(count + 1) * BINS).reshape(-1, BINS)
    middle = (np.arange(BINS) + 0.5) * DENSEST / BINS
    below, sums = counts.cumsum(axis=1), (counts * middle).cumsum(axis=1)
    above, whole = below[:, -1:] - below, np.maximum(below[:, -1:], 1)
    pale = sums / np.maximum(below, 1)
    dense = (sums[:, -1:] - sums) / np.maximum(above, 1)
    between = (below / whole) * (above / whole) * (dense - pale) ** 2
    variance = (counts * middle**2).sum(axis=1) / whole[:, 0] - (sums[:, -1] / whole[:, 0]) ** 2
    best = between.argmax(axis=1)
    at = (np.arange(count + 1), best)
    doubtful = between[at] > LEAST_PARTED * np.maximum(variance, 1e-9)
    doubtful &= (dense[at] > LEAST_RATIO * pale[at]) & (dense[at] - pale[at] > LEAST_STEP)
    doubtful[0] = False
    return (best + 1) * DENSEST / BINS, doubtful


def _large(labels: Labels, smallest_px: float) -> Labels:
    """Give each connected part of each number a separate number, and remove the small ones."""
    parts = measure.label(labels)
    wanted = np.bincount(parts.ravel()) >= smallest_px
    wanted[0] = False
    return np.where(wanted[parts], parts, 0).astype(np.int32)


def _means(labels: Labels, values: Density, count: int | None = None) -> Floats:
    """Return the mean of `values` over each number from 0 to `count`; 0 where a number has no pixel."""
    most = int(labels.max(initial=0)) if count is None else count
    flat = labels.ravel()
    return np.bincount(flat, values.ravel(), most + 1) / np.maximum(np.bincount(flat, minlength=most + 1), 1)


def _disk(radius: float) -> Mask:
    reach = math.ceil(radius)
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk: Mask = rows * rows + columns * columns <= radius * radius + 0.1
    return disk
