"""The interface of every source of a slide's pixels."""

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

    def scaled(self, by: float) -> Box:
        """Return this rectangle with its position and size multiplied by `by`."""
        return Box(self.x * by, self.y * by, self.width * by, self.height * by)


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
        """The objective power that the source states, such as 40; None if it states none."""

    def read(self, box: Box, columns: int, rows: int, *, exact: bool = False, into: Pixels | None = None) -> Pixels:
        """Read a region as `columns` x `rows` pixels, white outside the slide. Raises SlideUnreadable, DpatError.

        `exact`: each pixel is the mean of the level-0 pixels that it covers, however slow that is. `into`: an array
        of the requested size; the region is written into it, and it is returned.
        """

    def close(self) -> None:
        """Release the source's resources."""
