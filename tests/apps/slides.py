"""Slides whose content is known by construction."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray
from openslide import OpenSlide
from scipy import fft, ndimage
from skimage import data

from slidehook.pixels.file_pixels import FilePixels
from slidehook.pixels.source import Box, Pixels
from tests.e2e.running import HOUSE

WIDE_PX = 3.0
GLASS = 243
"""The value of every channel where there is no tissue."""


def write_slide(path: Path, pixels: Pixels, *, mpp: float, quality: int = 95) -> Path:
    """Write uint8 RGB (rows, columns, 3) as a tiled pyramid TIFF with JPEG tiles of 256 pixels."""
    per_mm = 1000 / mpp
    pyvips.Image.new_from_array(pixels).copy(interpretation="srgb").tiffsave(
        str(path), tile=True, pyramid=True, compression="jpeg", Q=quality, tile_width=256, tile_height=256,
        xres=per_mm, yres=per_mm, resunit="cm",
    )  # fmt: skip
    return path


def glass(rows: int, columns: int) -> Pixels:
    """Return an empty slide."""
    return np.full((rows, columns, 3), GLASS, np.uint8)


def tissue(rows: int, columns: int) -> Pixels:
    """Return real tissue, without a gap: scikit-image's immunohistochemistry (colon, DAB), as mirror images."""
    return tiled(_block(1), rows, columns)


def small_tissue(rows: int, columns: int, *, shrink: int = 2) -> Pixels:
    """Return the same tissue at a lower magnification: `shrink` is 2, 4 or 8."""
    return tiled(_block(shrink), rows, columns)


@cache
def _block(shrink: int) -> Pixels:
    """Return four pictures, each the mirror image of those beside it."""
    picture: Pixels = data.immunohistochemistry()
    pair = np.concatenate([picture, picture[:, ::-1]], axis=1)
    block = np.concatenate([pair, pair[::-1]], axis=0)
    rows, columns = len(block) // shrink, block.shape[1] // shrink
    small: Pixels = np.rint(block.reshape(rows, shrink, columns, shrink, 3).mean(axis=(1, 3))).astype(np.uint8)
    return small


def tiled(block: Pixels, rows: int, columns: int) -> Pixels:
    """Repeat a picture as often as it takes."""
    return np.tile(block, (-(-rows // len(block)), -(-columns // block.shape[1]), 1))[:rows, :columns]


def restained(
    pixels: Pixels, stain: str, *, strength: float = 1.0, lamp: tuple[float, float, float] = (1, 1, 1)
) -> Pixels:
    """Return tissue in other stains, `strength` times as dense, in light of another colour or brightness.

    `stain`: `H&E` has eosin in DAB's place, `haematoxylin` nothing in its place, `DAB` is the tissue as it is.
    """
    haematoxylin, eosin, dab = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78)
    density = -np.log10(pixels.clip(1) / np.float32(GLASS))
    if stain != "DAB":
        amounts = density @ np.linalg.pinv(np.array([haematoxylin, dab])).astype(np.float32)
        other = eosin if stain == "H&E" else (0.05, 0.05, 0.03)
        density = amounts.clip(0) @ np.array([haematoxylin, other], np.float32)
    light = GLASS * np.array(lamp) * 10 ** (-strength * density)
    return np.rint(light).clip(0, 255).astype(np.uint8)


def gaussian(pixels: Pixels, sigma_px: float) -> NDArray[np.float32]:
    """Blur a picture by a Gaussian with this standard deviation in pixels; beyond its edges lies its mirror image.

    A wide one by the cosine transform, whose time does not grow with the mask.
    """
    values = pixels.astype(np.float32)
    if sigma_px < WIDE_PX:
        return np.stack([ndimage.gaussian_filter(values[..., each], sigma_px) for each in range(3)], axis=-1)
    spectrum = fft.dctn(values, axes=(0, 1), overwrite_x=True)
    for axis, count in enumerate(pixels.shape[:2]):
        damping = np.exp(-0.5 * (sigma_px * np.pi * np.arange(count) / count) ** 2)
        spectrum *= np.expand_dims(damping.astype(np.float32), tuple({0, 1, 2} - {axis}))
    soft: NDArray[np.float32] = fft.idctn(spectrum, axes=(0, 1), overwrite_x=True)
    return soft


class Watched(FilePixels):
    """Keeps which parts were read, and how many pixels wide."""

    def __init__(self, slide: OpenSlide) -> None:
        super().__init__(slide)
        self.parts: list[tuple[Box, int]] = []

    def read(self, box: Box, columns: int, rows: int, *, exact: bool = False, into: Pixels | None = None) -> Pixels:
        self.parts.append((box, columns))
        return super().read(box, columns, rows, exact=exact, into=into)


def documented(app_id: str) -> dict[str, object]:
    """Return the parameters of `tissue` or `focus` that their page shows."""
    text = (HOUSE / "docs" / "tissue-and-focus.md").read_text()
    section = text.split(f"\n## {app_id.capitalize()}\n")[1]
    return tomllib.loads(section.split("```toml\n")[1].split("```")[0])
