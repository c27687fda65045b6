"""Real slides, read directly, have the pixels that OpenSlide gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from openslide import OpenSlide

from slidehook.pixels.file_pixels import FilePixels
from slidehook.pixels.source import Box


@pytest.mark.parametrize("name", ["he/cmu-1-small-region.svs", "he/tcga-cr-7395-region.svs"])
def test_a_real_slide_is_read_directly(real_slides: Path, name: str) -> None:
    with OpenSlide(real_slides / name) as slide:
        own, theirs = FilePixels(slide, real_slides / name), FilePixels(slide)
        width, height = slide.dimensions
        for box in (Box(0, 0, 700, 600), Box(width - 650, height - 650, 700, 700), Box(903, 1207, 511, 402)):
            size = (int(box.width), int(box.height))
            assert np.array_equal(own.read(box, *size), theirs.read(box, *size))
        assert own.how_read == "directly"
        # Where the scale of a level is no whole number, OpenSlide interpolates: the place is the same.
        box, size = Box(1000, 800, 2000, 1600), (1000, 800)
        mine, seen = (source.read(box, *size).astype(int) for source in (own, theirs))
        off = {
            shift: np.abs(np.roll(mine, shift, (0, 1)) - seen).mean() for shift in ((0, 0), (0, 1), (1, 0), (-1, 0))
        }
        assert min(off, key=lambda shift: float(off[shift])) == (0, 0)
        own.close()
