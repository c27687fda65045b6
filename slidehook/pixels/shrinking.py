"""When a JPEG decoder may make tiles smaller itself, which costs far less than decoding them whole.

A decoder shrinks by leaving out a block's high frequencies, which is nearly, but not quite, the mean of its pixels.
Measured on H&E, DAB, sharp edges and text in JPEG of several qualities: mostly within a mean of 0.8 and a largest of
16 (of 255) of the area average, if one new pixel is one shrunk pixel or a whole number of them; half of that if at
least two along each side. In some files the error is larger, so it is measured in each.
"""

from __future__ import annotations

import numpy as np

from slidehook.pixels.resampling import resized
from slidehook.pixels.source import Box, Pixels
from slidehook.pixels.stored_level import Codec, StoredLevel
from slidehook.pixels.tile_codecs import decode

MEAN_ERROR, LARGEST_ERROR = 1.0, 16
"""How far a tile that its decoder has shrunk may be from the area average, of 255."""
DETAILED = 6
"""In so many tiles, those with the most bytes, this is measured: they have the most detail and the sharpest edges."""
NEAR_PX = 0.05
"""How far, in shrunk pixels, the edges of new pixels may lie beside those of shrunk pixels."""
MANY = 8
"""From so many on along a side, shrunk pixels may be cut by an edge: with 7, text has a mean error above 1."""


def fit_shrinks(level: StoredLevel, file: int) -> dict[int, int]:
    """Return by how much the tiles of a level may be shrunk while they are decoded from the open `file`.

    For each, the ratio (1 or 2) by which the result must be averaged at least, to be close to the area average of
    whole tiles: this is measured in the tiles with the most detail. Raises Undecodable and OSError.
    """
    if level.codec is not Codec.JPEG:
        return {}
    samples = []
    for number in np.argsort(level.counts)[::-1]:
        row, column = divmod(int(number), level.across)
        # What pads a tile at the slide's edge would shine through.
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
    """Whether a region in shrunk pixels, made into `columns` x `rows` pixels, comes close to the area average.

    `least`: see `fit_shrinks`.
    """
    ratio = min(region.width / columns, region.height / rows)
    if ratio >= MANY:
        return True
    rest = round(ratio)
    off = (region.x - round(region.x), region.y - round(region.y))
    drift = (region.width - rest * columns, region.height - rest * rows)
    return rest >= least and max(abs(each) for each in (*off, *drift)) <= NEAR_PX
