"""What all tests share: the sample slides, made once a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.samples import sample_folder


@pytest.fixture(scope="session")
def sample_slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the slides `immuno` (TIFF) and `immuno-dicom` (DICOM); copy it before changing it."""
    return sample_folder(tmp_path_factory.mktemp("slides"))
