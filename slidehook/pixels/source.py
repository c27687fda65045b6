"""What every source of a slide's pixels offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""RGB, shape (rows, columns, 3)."""


@dataclass(frozen=True)
class Box:
    """A rectangle in level-0 pixels: its upper left corner, width and height. It may reach beyond the slide."""

    x: float
    y: float
    width: float
    height: float


class PixelSource(Protocol):
    """Returns regions of a slide at any size. Thread-safe."""

    @property
    def size(self) -> tuple[int, int]:
        """The slide's width and height in level-0 pixels."""

    @property
    def stated_mpp(self) -> tuple[float, float] | None:
        """The pixel size that the source itself states, across and down in µm; None if it states none."""

    @property
    def objective_power(self) -> float | None:
        """The objective's power that the source states, such as 40; None if it states none."""

    def read(self, box: Box, columns: int, rows: int) -> Pixels:
        """Read a region as `columns` x `rows` pixels, white outside the slide. Raises SlideUnreadable, DpatError."""

    def close(self) -> None:
        """Release the source's resources."""
