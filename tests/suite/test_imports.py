"""Which parts of the house may name which others."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.e2e.running import HOUSE

KNOW_NO_SYSTEM = ["worker", "slidehook/running", "slidehook/jobs", "slidehook/systems.py"]


def imported(file: Path) -> set[str]:
    """Return the modules that a file names in its imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"{file} has a relative import"
            found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)}
    return found


@pytest.mark.parametrize("part", KNOW_NO_SYSTEM)
def test_dpat_is_one_system_among_others(part: str) -> None:
    place = HOUSE / part
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    assert files
    named = {str(file): {name for name in imported(file) if "dpat" in name.split(".")} for file in files}
    assert not {file: names for file, names in named.items() if names}
