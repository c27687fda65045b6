from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidehook.measuring.glass import DIMMEST_GLASS, WHITE, Colour, glass_colour
from slidehook.pixels.source import Pixels


def overview(*parts: tuple[float, Colour]) -> Pixels:
    """An overview of 10,000 pixels; each part takes a share of it."""
    return np.concatenate([np.full((round(share * 100), 100, 3), colour) for share, colour in parts]).astype(np.uint8)


BROWN = (150.0, 100.0, 60.0)


@pytest.mark.parametrize(
    ("picture", "colour"),
    [
        (overview((0.3, (240, 238, 242)), (0.7, BROWN)), (240, 238, 242)),
        (overview((0.01, (240, 238, 242)), (0.99, BROWN)), (240, 238, 242)),
        (overview((0.5, (255, 255, 255)), (0.2, (240, 238, 242)), (0.3, BROWN)), (240, 238, 242)),
        (overview((0.5, (255, 255, 255)), (0.5, BROWN)), WHITE),
        (overview((1, (180, 176, 178))), (180, 176, 178)),
        (overview((1, BROWN)), WHITE),
        (overview((1, (100, 100, 100))), None),
        (overview((1, (0, 0, 0))), None),
    ],
    ids=["glass", "little", "filled", "filled only", "dim", "none", "too dark", "black"],
)
def test_the_colour_of_glass(picture: Pixels, colour: Colour | None) -> None:
    assert glass_colour(picture) == colour


@settings(deadline=None)
@given(st.integers(DIMMEST_GLASS, 254), st.integers(0, 5))
def test_noise_does_not_change_the_glass(level: int, deviation: int) -> None:
    noise = np.random.default_rng(0).normal(0, deviation, (100, 100, 1))
    picture = (level + noise).clip(0, 255).astype(np.uint8).repeat(3, axis=2)
    found = glass_colour(picture)
    assert found is not None
    assert found[0] == pytest.approx(level, abs=3 * deviation + 1)
