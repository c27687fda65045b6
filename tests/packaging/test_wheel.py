"""The wheel ships `slidehook` alone: other top-level names would overlap the files of other packages."""

from __future__ import annotations

import zipfile
from pathlib import Path

import hatchling.build
import pytest

HOUSE = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Every file in the wheel, except its metadata."""
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(HOUSE)
        name = hatchling.build.build_wheel(str(folder))
    with zipfile.ZipFile(folder / name) as wheel:
        return {each for each in wheel.namelist() if not each.split("/")[0].endswith(".dist-info")}


def test_it_ships_slidehook_alone(shipped: set[str]) -> None:
    assert {each.split("/")[0] for each in shipped} == {"slidehook"}


def test_it_ships_every_file_of_slidehook(shipped: set[str]) -> None:
    ours = {
        str(path.relative_to(HOUSE))
        for path in (HOUSE / "slidehook").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert shipped == ours
    assert {"slidehook/py.typed", "slidehook/simulator/templates/overview.html"} <= shipped
