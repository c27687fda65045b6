"""Finds cell nuclei in a picture of stain density, and measures a stain in them or in a ring around them.

Method: the density is smoothed; areas denser than their surroundings are one or more nuclei, dense or pale. Where
several touch, the distance to their common outline has a maximum in each (watershed of the distance transform,
Vincent and Soille 1991); parts with hardly any neck between them are merged (h-maxima, Soille 2003). Then dense
nuclei are separated from pale ones, and pale streaks are removed (`slidehook.measuring.overlaps`). All sizes are in
µm, so the result does not depend on the pixel size.

Limits: overlapping nuclei, and pale ones in dark surroundings, are missed or counted as one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray
from skimage import measure, segmentation

from slidehook.measuring.overlaps import Floats, Labels, part_by_density, without_streaks
from slidehook.measuring.stains import Density
from slidehook.pixels.tiles import Mask

REACH_UM = 40.0
"""The distance from a nucleus's centre within which the picture affects its detection: the margin of tiles."""
SMOOTH_UM, PALE_SMOOTH_UM = 0.4, 0.7
"""The smoothing, and that for pale nuclei, which need more against noise and texture."""
WINDOW_UM = 25.0
"""The side of the square of the local background; larger dark areas are not nuclei."""
DARKEST_BACKGROUND = 0.2
"""The largest density of background; a denser area is a sheet of nuclei without gaps."""
SURROUND_UM = 5.0
SURROUND_PART = 0.8
"""A nucleus is denser than this fraction of the mean of its surroundings (a Gaussian of `SURROUND_UM`)."""
DENSEST = 0.4
"""Densities are capped at this value in that mean, so that a dark nucleus does not hide a pale neighbour."""
SPECK_UM2 = 2.0
"""Holes up to this size are always filled; larger ones only if they can be a pale nucleus's centre."""
SPLIT_SMOOTH_UM = 0.4
SPLIT_UM = 0.1
"""Half the least difference in width between the smaller of two nuclei and the neck between them."""


@dataclass(frozen=True)
class Dab:
    """The density of a stain that may be in nuclei, and the least mean density of a positive nucleus.

    `pale_contrast`: the least excess of a pale nucleus's density over its surroundings; its edge and shape must be
    those of a nucleus. `scanned`: marks the scanned part of the picture; the rest is ignored.
    """

    density: Density
    positive_from: float
    pale_contrast: float
    scanned: Mask


def find_nuclei(
    density: Density, *, mpp: float, contrast: float, smallest_um2: float, largest_um2: float, dab: Dab | None = None
) -> Labels:
    """Find and number the nuclei in a picture of `mpp` µm per pixel.

    `density` is larger in nuclei than in their surroundings, by at least `contrast`. Areas in µm²: smaller and larger
    objects are removed. `dab`: the stain, if any, that is a part of `density`; with it, paler nuclei are found too.
    """
    smallest_px, largest_px = smallest_um2 / mpp**2, largest_um2 / mpp**2
    least, smooth_um = (contrast, SMOOTH_UM) if dab is None else (min(contrast, dab.pale_contrast), PALE_SMOOTH_UM)
    mask = _fill(_mark(density, mpp, least, smooth_um), mpp, 2 * largest_um2)
    if dab is not None:
        mask &= dab.scanned
    inside = scipy.ndimage.distance_transform_edt(mask).astype(np.float32) * np.float32(mpp)
    inside = _blurred(inside, SPLIT_SMOOTH_UM / mpp) * mask
    if dab is None:
        return _of_size(_split(inside, mask), smallest_px, largest_px)
    found = _of_size(_split(inside, mask), smallest_px, 2 * largest_px)
    fine = _blurred(density, SMOOTH_UM / mpp)
    found = part_by_density(found, fine, dab.density, mpp=mpp, positive_from=dab.positive_from)
    return _of_size(without_streaks(found, fine, dab.scanned, mpp=mpp, clear=contrast), smallest_px, largest_px)


def _mark(density: Density, mpp: float, contrast: float, smooth_um: float) -> Mask:
    """Mark the areas that are denser than their surroundings."""
    smooth = _blurred(density, smooth_um / mpp)
    width = 2 * math.ceil(WINDOW_UM / mpp / 2) + 1
    background = scipy.ndimage.maximum_filter(scipy.ndimage.minimum_filter(smooth, width), width)
    smooth -= np.clip(background, 0, DARKEST_BACKGROUND)
    around = SURROUND_PART * _blurred(np.clip(smooth, 0, DENSEST), SURROUND_UM / mpp, truncate=2)
    mask: Mask = scipy.ndimage.binary_opening(smooth > np.maximum(around, contrast))
    return mask


def _fill(mask: Mask, mpp: float, largest_um2: float) -> Mask:
    """Fill the holes that can't be gaps between nuclei: specks, and those in objects smaller than `largest_um2`."""
    full = scipy.ndimage.binary_fill_holes(mask)
    holes, _ = scipy.ndimage.label(full & ~mask)
    things, _ = scipy.ndimage.label(full)
    specks = np.bincount(holes.ravel()) <= SPECK_UM2 / mpp**2
    small = np.bincount(things.ravel()) <= largest_um2 / mpp**2
    small[0] = False  # the background
    filled: Mask = mask | (full & (small[things] | specks[holes]))
    return filled


def _split(inside: Density, mask: Mask) -> Labels:
    """Divide the mask: each maximum of `inside` that exceeds its neck by `SPLIT_UM` gets a separate number."""
    summits = measure.label((inside == scipy.ndimage.maximum_filter(inside, 3)) & mask)
    basins: Labels = segmentation.watershed(-inside, summits, mask=mask)
    heights = np.zeros(summits.max(initial=0) + 1)
    heights[summits[summits > 0]] = inside[summits > 0]
    one_with = list(range(len(heights)))

    def root(number: int) -> int:
        while one_with[number] != number:
            number = one_with[number]
        return number

    for neck, one, other in _necks(inside, basins):
        low, high = sorted((root(one), root(other)), key=lambda number: float(heights[number]))
        if low != high and heights[low] - neck < SPLIT_UM:
            one_with[low] = high
    return np.array([root(number) for number in range(len(heights))], np.int32)[basins]


def _necks(inside: Density, basins: Labels) -> list[tuple[float, int, int]]:
    """Return the necks between touching basins: the height, and the two numbers; highest first."""
    found = []
    for here, there in (
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[1:], np.s_[:-1]),
        (np.s_[1:, 1:], np.s_[:-1, :-1]),
        (np.s_[1:, :-1], np.s_[:-1, 1:]),
    ):
        one, other = basins[here], basins[there]
        touching = (one != other) & (one > 0) & (other > 0)
        neck = np.minimum(inside[here][touching], inside[there][touching])
        found.append(np.stack([neck, one[touching], other[touching]], axis=1))
    necks = np.concatenate(found)
    return [(neck, int(one), int(other)) for neck, one, other in necks[np.argsort(-necks[:, 0])].tolist()]


def _of_size(labels: Labels, smallest_px: float, largest_px: float) -> Labels:
    """Remove objects that are too small or too large, and renumber the others."""
    sizes = np.bincount(labels.ravel())
    wanted = (sizes >= smallest_px) & (sizes <= largest_px)
    wanted[0] = False
    return np.where(wanted, np.cumsum(wanted), 0).astype(np.int32)[labels]


def _blurred(picture: Density, sigma_px: float, *, truncate: float = 3) -> Density:
    blurred: Density = scipy.ndimage.gaussian_filter(picture, sigma_px, truncate=truncate)
    return blurred


@dataclass(frozen=True)
class Nuclei:
    """The nuclei of one picture: for each, the centre in pixels of the picture, and the mean of a stain."""

    column: Floats
    row: Floats
    density: Floats

    def __len__(self) -> int:
        return len(self.density)


def measure_nuclei(labels: Labels, stain: Density, *, ring_px: float | None = None) -> Nuclei:
    """Measure the mean density of `stain` in each nucleus or, with `ring_px`, in a ring of that width around it.

    A ring ends where another nucleus is nearer, and excludes all nuclei. If there is no room for a ring, the nucleus
    itself is measured.
    """
    rows, columns = np.nonzero(labels)
    numbers = labels[rows, columns]
    count = int(labels.max(initial=0))
    sizes = _sums(numbers, None, count)
    density = _sums(numbers, stain[rows, columns], count) / sizes
    if ring_px is not None and count:
        around = np.where(labels == 0, segmentation.expand_labels(labels, ring_px), 0)
        in_ring = around > 0
        room = _sums(around[in_ring], None, count)
        in_rings = _sums(around[in_ring], stain[in_ring], count)
        density = np.where(room > 0, in_rings / np.maximum(room, 1), density)
    # A pixel's centre is half a pixel beyond its index.
    return Nuclei(_sums(numbers, columns, count) / sizes + 0.5, _sums(numbers, rows, count) / sizes + 0.5, density)


def _sums(numbers: NDArray[np.int32], values: NDArray[np.generic] | None, count: int) -> Floats:
    """Add up `values` (None: ones) for each number from 1 to `count`."""
    return np.bincount(numbers, values, minlength=count + 1)[1:].astype(np.float64)
