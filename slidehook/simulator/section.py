"""Draws a picture of a tissue section: real stained tissue inside an irregular outline on a slide's glass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyvips
from skimage import data
from skimage.filters import gaussian

Field = npt.NDArray[np.float64]

# scikit-image has no annotations for these.
_smooth: Callable[..., Field] = gaussian
_tissue: Callable[[], npt.NDArray[np.uint8]] = data.immunohistochemistry

BEND_PX = 900.0
"""The largest local shift of the mosaic, in pixels."""

GRID_PX = 32
"""Pixels of the finished picture per cell of the coarse fields (outline, glass, staining)."""


def draw_section(width: int, height: int, *, seed: int = 1) -> Any:
    """Return a pyvips RGB image (uchar, sRGB) of `width` x `height` pixels; equal arguments give equal images.

    The tissue is scikit-image's `immunohistochemistry()` (colon, DAB brown; 0.25 µm per pixel fits it). It is
    repeated as mirror images to hide the seams, and bent to hide the repetition. Its staining varies slowly, as on a
    real slide.
    """
    rows, cols = -(-height // GRID_PX), -(-width // GRID_PX)
    rng = np.random.default_rng(seed)
    inside = _enlarge(_outline(rows, cols, rng), width, height)
    stain = _enlarge(0.93 + 0.14 * _waves(rows, cols, rng, cells=10), width, height)
    tissue = _mosaic(rows, cols, rng, width, height) * stain
    mixed = tissue * inside + _glass(rows, cols, rng, width, height) * (1 - inside)
    return mixed.rint().cast("uchar").copy(interpretation="srgb")


def _mosaic(rows: int, cols: int, rng: np.random.Generator, width: int, height: int) -> Any:
    picture = _tissue()
    pair = np.concatenate([picture, picture[:, ::-1]], axis=1)
    block = pyvips.Image.new_from_array(np.concatenate([pair, pair[::-1]], axis=0))
    y, x = np.mgrid[0:rows, 0:cols] * float(GRID_PX)
    turn = np.deg2rad(28)
    reach = min(BEND_PX, width / 5)
    bend = [reach * (_waves(rows, cols, rng, cells=10) - 0.5) for _ in range(2)]
    u = x * np.cos(turn) - y * np.sin(turn) + bend[0]
    v = x * np.sin(turn) + y * np.cos(turn) + bend[1]
    u, v = u - u.min(), v - v.min()
    across, down = int(u.max()) // block.width + 2, int(v.max()) // block.height + 2
    sheet = block.replicate(across, down).copy_memory()
    return sheet.mapim(_enlarge(np.stack([u, v], axis=-1), width, height))


def _outline(rows: int, cols: int, rng: np.random.Generator) -> Field:
    """Return the share of tissue, 0…1, in each cell: a lobed blob with a tear or two and a soft edge."""
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : cols * 1j]
    angle = np.arctan2(y, x)
    lobes = sum(rng.uniform(0.02, 0.07) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(2, 8))
    edge = 0.76 + lobes + 0.12 * (_waves(rows, cols, rng, cells=5) - 0.5)
    distance = (np.abs(x) ** 2.4 + np.abs(y) ** 2.4) ** (1 / 2.4)
    holes = _waves(rows, cols, rng, cells=6) > 0.86
    blob = np.clip((edge - distance) * 60, 0, 1) * ~holes
    soft: Field = np.clip(_smooth(blob, 0.4), 0, 1)
    return soft


def _glass(rows: int, cols: int, rng: np.random.Generator, width: int, height: int) -> Any:
    """Return the empty glass: off-white, slightly uneven, a little darker in one corner."""
    y, x = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : cols * 1j]
    shade = 243 - 3 * x * y + 3 * (_waves(rows, cols, rng, cells=8) - 0.5)
    red = _enlarge(shade, width, height)
    return red.bandjoin([red - 1, red + 2])


def _waves(rows: int, cols: int, rng: np.random.Generator, *, cells: float) -> Field:
    """Return smooth noise, 0…1, with a length scale of about `cells` cells."""
    noise = _smooth(rng.standard_normal((rows, cols)), cells, mode="wrap")
    low, high = noise.min(), noise.max()
    waves: Field = (noise - low) / (high - low)
    return waves


def _enlarge(field: Field, width: int, height: int) -> Any:
    image = pyvips.Image.new_from_array(np.ascontiguousarray(field, dtype=np.float32))
    grown = image.resize(width / image.width, vscale=height / image.height, kernel="cubic")
    return grown.crop(0, 0, width, height)
