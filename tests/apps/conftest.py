"""What the tests of several modules about `ihc` share: one composed slide, and a way to write others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slidehook.pixels.source import Pixels
from tests.apps.ihc_runs import SIDE_UM
from tests.apps.slides import write_slide
from tests.apps.stained import MPP, Nucleus, compose, scatter


@pytest.fixture(scope="session")
def nuclei() -> list[Nucleus]:
    return scatter(250, side_um=SIDE_UM, seed=1)


@pytest.fixture(scope="session")
def picture(nuclei: list[Nucleus]) -> Pixels:
    return compose(nuclei, side_um=SIDE_UM, seed=1)


@pytest.fixture(scope="session")
def section(picture: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("ihc") / "section.tiff", picture, mpp=MPP, quality=90)


@pytest.fixture
def on_slide(tmp_path: Path) -> Callable[..., Path]:
    """Writes a picture as a slide."""

    def write(pixels: Pixels, *, mpp: float = MPP, quality: int = 90) -> Path:
        return write_slide(tmp_path / "slide.tiff", pixels, mpp=mpp, quality=quality)

    return write
