"""Separates a slide's stains by their colours: colour deconvolution.

Method: A. C. Ruifrok and D. A. Johnston, "Quantification of histochemical staining by color deconvolution",
Analytical and Quantitative Cytology and Histology 23 (2001), 291-299. A stain absorbs light by the law of Beer and
Lambert, so the optical densities of two stains in one place add up in each channel. The colours of two stains and a
third direction perpendicular to both give three equations for three unknowns. The component in the third direction,
the residual, belongs to neither stain.

Limits: the colours differ from laboratory to laboratory and from scanner to scanner. DAB scatters light, so its
density shows where it is, not how much antigen there is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slidehook.measuring.glass import WHITE, Colour
from slidehook.pixels.source import Pixels

Density = NDArray[np.float32]
"""Optical density (to base 10) along a stain's colour, shape (rows, columns); below 0 where a stain is subtracted."""

HAEMATOXYLIN: Colour = (0.650, 0.704, 0.286)
"""Ruifrok and Johnston 2001."""
DAB: Colour = (0.268, 0.570, 0.776)
"""Ruifrok and Johnston 2001."""


@dataclass(frozen=True)
class Stained:
    """The densities of two stains, and the residual."""

    first: Density
    second: Density
    residual: Density


class Deconvolution:
    """Separates two stains, whose colours may have any length; `white` is the colour of empty glass.

    Raises ValueError if the colours are too similar, or if a value is not above 0.
    """

    def __init__(self, first: Colour = HAEMATOXYLIN, second: Colour = DAB, *, white: Colour = WHITE) -> None:
        one, other = (np.asarray(each, np.float64) for each in (first, second))
        for colour in (one, other):
            if colour.shape != (3,) or not np.linalg.norm(colour) > 0:
                raise ValueError(f"{tuple(colour)} is no stain's colour")
        one, other = one / np.linalg.norm(one), other / np.linalg.norm(other)
        normal = np.cross(one, other)
        if np.linalg.norm(normal) < 0.05:
            raise ValueError(f"the colours {first} and {second} are too much alike to be told apart")
        if not all(each > 0 for each in white):
            raise ValueError(f"there is no light in {white}")
        unmix = np.linalg.inv(np.stack([one, other, normal / np.linalg.norm(normal)]))
        # 0 is read as 1: no scanner distinguishes them, and 0 would be an infinite density.
        values = np.maximum(np.arange(256), 1)
        densities = -np.log10(values[None, :] / np.asarray(white, np.float64)[:, None])
        self._table = (unmix[:, :, None] * densities[:, None, :]).astype(np.float32)

    def __call__(self, pixels: Pixels) -> Stained:
        """Separate the stains of a picture: uint8 RGB, shape (rows, columns, 3). Raises ValueError on another."""
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(f"a picture is uint8 RGB (rows, columns, 3), not {pixels.dtype} {pixels.shape}")
        red, green, blue = (np.ascontiguousarray(pixels[..., channel]) for channel in range(3))
        first, second, residual = (
            self._table[0, stain][red] + self._table[1, stain][green] + self._table[2, stain][blue]
            for stain in range(3)
        )
        return Stained(first, second, residual)
