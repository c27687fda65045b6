"""Real slides and pictures with known numbers, in the folder that SLIDEHOOK_REAL_SLIDES names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ASKED_FOR = os.environ.get("SLIDEHOOK_REAL_SLIDES")


@pytest.fixture(scope="session")
def real_slides() -> Path:
    """The folder; its README says where each file comes from and what is true of it."""
    folder = ASKED_FOR
    if not folder:
        pytest.skip("set SLIDEHOOK_REAL_SLIDES to the folder of real slides to run the tests on them")
    assert Path(folder, "README.md").is_file(), f"SLIDEHOOK_REAL_SLIDES={folder} holds no real slides"
    return Path(folder)
