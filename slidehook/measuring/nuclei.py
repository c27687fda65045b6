"""Finds cell nuclei in a picture of stain density, and measures a stain in them or in a ring round them.

Method: the density is smoothed; what is denser than its surroundings is a nucleus or several, dense or pale. Where
several touch, the distance to their common outline has a maximum in each (watershed of the distance transform,
Vincent and Soille 1991; parts that hardly narrow where they meet are one: h-maxima, Soille 2003). Then dense nuclei
are parted from pale ones, and pale streaks dropped (`slidehook.measuring.overlaps`). All sizes are in µm, so the
result does not hang on the pixel size.

Limits: nuclei that lie over each other, and pale ones in dark surroundings, are missed or taken for one.
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
"""How far from a nucleus's middle the picture has a say in how it is found: the margin that tiles need."""
SMOOTH_UM, PALE_SMOOTH_UM = 0.4, 0.7
"""Pale nuclei stand out from noise and texture over a larger width."""
WINDOW_UM = 25.0
"""What is darker than its surroundings over a square as wide as this is no nucleus but background."""
DARKEST_BACKGROUND = 0.2
"""Density above which nothing passes for background: it would be a sheet of nuclei without a gap."""
SURROUND_UM = 5.0
SURROUND_PART = 0.8
"""A nucleus is denser than this part of the mean over its surroundings (a Gaussian of `SURROUND_UM`)."""
DENSEST = 0.4
"""Density above which all counts alike in that mean, so that a dark nucleus does not hide a pale neighbour."""
SPECK_UM2 = 2.0
"""Holes up to this size are always filled; larger ones only where they can be a pale nucleus's middle."""
SPLIT_SMOOTH_UM = 0.4
SPLIT_UM = 0.1
"""How much narrower the neck between two nuclei is than the smaller one, at least: half the difference."""


@dataclass(frozen=True)
class Dab:
    """A stain that may lie in nuclei, and the mean density from which on one is positive.

    `pale_contrast`: by how much a nucleus is denser than its surroundings, at least, if it has a nucleus's edge and
    shape. `scanned`: where the picture shows anything; what lies beyond has neither nuclei nor an edge.
    """

    density: Density
    positive_from: float
    pale_contrast: float
    scanned: Mask


def find_nuclei(
    density: Density, *, mpp: float, contrast: float, smallest_um2: float, largest_um2: float, dab: Dab | None = None
) -> Labels:
    """Find and number the nuclei in a picture of `mpp` µm per pixel.

    `density` is what nuclei have more of than their surroundings, by `contrast` at least. Areas in µm²: what is
    smaller or larger is dropped. `dab`: of which stain, if any, `density` holds a part; with it, paler nuclei are
    found too.
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
    """Mark what is denser than its surroundings."""
    smooth = _blurred(density, smooth_um / mpp)
    width = 2 * math.ceil(WINDOW_UM / mpp / 2) + 1
    background = scipy.ndimage.maximum_filter(scipy.ndimage.minimum_filter(smooth, width), width)
    smooth -= np.clip(background, 0, DARKEST_BACKGROUND)
    around = SURROUND_PART * _blurred(np.clip(smooth, 0, DENSEST), SURROUND_UM / mpp, truncate=2)
    mask: Mask = scipy.ndimage.binary_opening(smooth > np.maximum(around, contrast))
    return mask


def _fill(mask: Mask, mpp: float, largest_um2: float) -> Mask:
    """Fill the holes that can't be gaps between nuclei: specks, and those in things smaller than `largest_um2`."""
    full = scipy.ndimage.binary_fill_holes(mask)
    holes, _ = scipy.ndimage.label(full & ~mask)
    things, _ = scipy.ndimage.label(full)
    specks = np.bincount(holes.ravel()) <= SPECK_UM2 / mpp**2
    small = np.bincount(things.ravel()) <= largest_um2 / mpp**2
    small[0] = False  # the ground
    filled: Mask = mask | (full & (small[things] | specks[holes]))
    return filled


def _split(inside: Density, mask: Mask) -> Labels:
    """Part the mask: each maximum of `inside` that rises over its neck by `SPLIT_UM` gets a number of its own."""
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
    """Return where two basins touch: how high the neck between them is, and their numbers; highest first."""
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
    """Drop what is too small or too large, and number the others anew."""
    sizes = np.bincount(labels.ravel())
    wanted = (sizes >= smallest_px) & (sizes <= largest_px)
    wanted[0] = False
    return np.where(wanted, np.cumsum(wanted), 0).astype(np.int32)[labels]


def _blurred(picture: Density, sigma_px: float, *, truncate: float = 3) -> Density:
    blurred: Density = scipy.ndimage.gaussian_filter(picture, sigma_px, truncate=truncate)
    return blurred


@dataclass(frozen=True)
class Nuclei:
    """Nuclei of one picture, one number each: the middle in pixels of the picture, and the mean of a stain."""

    column: Floats
    row: Floats
    density: Floats

    def __len__(self) -> int:
        return len(self.density)


def measure_nuclei(labels: Labels, stain: Density, *, ring_px: float | None = None) -> Nuclei:
    """Measure the mean density of `stain` in each nucleus or, with `ring_px`, in a ring as wide round it.

    A ring ends where another nucleus is nearer, and never lies in one. A nucleus with no room for a ring is measured
    itself.
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
    # A pixel's middle lies half a pixel beyond its number.
    return Nuclei(_sums(numbers, columns, count) / sizes + 0.5, _sums(numbers, rows, count) / sizes + 0.5, density)


def _sums(numbers: NDArray[np.int32], values: NDArray[np.generic] | None, count: int) -> Floats:
    """Add up `values` (None: ones) for each number from 1 to `count`."""
    return np.bincount(numbers, values, minlength=count + 1)[1:].astype(np.float64)
