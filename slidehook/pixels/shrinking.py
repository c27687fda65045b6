"""Decides when a JPEG decoder may shrink tiles itself, which is much cheaper than decoding them in full.

A decoder shrinks by leaving out a block's high frequencies, which gives nearly, but not exactly, the mean of its
pixels. Measured on H&E, DAB, sharp edges and text in JPEG of several qualities: if a new pixel consists of a whole
number of shrunk pixels, the error against the area average is mostly at most 0.8 on average and 16 for a single pixel
(of 255); it is half of that for at least two shrunk pixels along each side. Some files have larger errors, so the
error is measured in each file.
"""

from __future__ import annotations

import numpy as np

from slidehook.pixels.resampling import resized
from slidehook.pixels.source import Box, Pixels
from slidehook.pixels.stored_level import Codec, StoredLevel
from slidehook.pixels.tile_codecs import decode

MEAN_ERROR, LARGEST_ERROR = 1.0, 16
"""The largest mean and single error of a tile shrunk by its decoder, against the area average, of 255."""
DETAILED = 6
"""In how many tiles the error is measured: those with the most bytes, because they have the most detail."""
NEAR_PX = 0.05
"""How far, in shrunk pixels, the edges of new pixels may be from those of shrunk pixels."""
MANY = 8
"""The ratio from which edges of new pixels may cut shrunk pixels: at 7, text has a mean error above 1."""


def fit_shrinks(level: StoredLevel, file: int) -> dict[int, int]:
    """Return the factors by which the tiles of a level may be shrunk while they are decoded from the open `file`.

    Each maps to the smallest ratio (1 or 2) by which the result must then be averaged to come close to the area
    average of whole tiles, measured in the tiles with the most detail. Raises Undecodable and OSError.
    """
    if level.codec is not Codec.JPEG:
        return {}
    samples = []
    for number in np.argsort(level.counts)[::-1]:
        row, column = divmod(int(number), level.across)
        # Tiles at the slide's edge are skipped, because their padding would affect the measurement.
        if (column + 1) * level.tile[0] <= level.columns and (row + 1) * level.tile[1] <= level.rows:
            content = level.read(file, column, row)
            if content:
                samples.append((content, decode(level, content)))
        if len(samples) == DETAILED:
            break
    fit = {}
    for by in (2, 4, 8):
        if not any(side % (2 * by) for side in level.tile):
            pairs = [(decode(level, content, shrink=by), whole) for content, whole in samples]
            least = next((rest for rest in (1, 2) if all(_is_close(*pair, rest) for pair in pairs)), None)
            if least is not None:
                fit[by] = least
    return fit


def _is_close(shrunk: Pixels, whole: Pixels, rest: int) -> bool:
    rows, columns = (side // rest for side in shrunk.shape[:2])
    error = np.abs(resized(shrunk, columns, rows).astype(np.int16) - resized(whole, columns, rows))
    return bool(error.mean() <= MEAN_ERROR and error.max() <= LARGEST_ERROR)


def suffices(region: Box, columns: int, rows: int, *, least: int) -> bool:
    """Whether resizing a region in shrunk pixels to `columns` x `rows` pixels comes close to the area average.

    `least`: see `fit_shrinks`.
    """
    ratio = min(region.width / columns, region.height / rows)
    if ratio >= MANY:
        return True
    rest = round(ratio)
    off = (region.x - round(region.x), region.y - round(region.y))
    drift = (region.width - rest * columns, region.height - rest * rows)
    return rest >= least and max(abs(each) for each in (*off, *drift)) <= NEAR_PX
