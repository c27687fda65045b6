"""Which room may import which: the arrows of docs/develop.md, and a few sharper rules."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
PAGE = HOUSE / "docs" / "develop.md"
ROOMS = {"apps", "cli", "demo", "dpat", "folder", "jobs", "measuring", "pixels", "registry", "running", "simulator"}
OTHERS = {
    **dict.fromkeys(("app", "slide", "result", "regions", "systems", "results"), "author"),
    **dict.fromkeys(("models", "geometry"), "models"),
    "memory_system": "folder",
}
"""The rooms of modules and packages that have another name; every other one belongs to the foundation."""
ONLY = {
    "slidehook/apps": ("slidehook", "slidehook.measuring.*", "slidehook.apps.*"),
    "slidehook/simulator": ("slidehook.dpat.iaapi.models", "slidehook.simulator.*"),
}
"""The only modules of the house that a room may import."""
NEVER = {
    "slidehook/jobs": ("slidehook.dpat", "slidehook.folder", "slidehook.systems", "slidehook.memory_system"),
    "slidehook/systems.py": ("slidehook.dpat", "slidehook.jobs"),
    "slidehook/running": ("slidehook.dpat", "slidehook.jobs"),
    "slidehook/results": ("slidehook.dpat",),
    "webserver": ("worker",),
    "worker": ("webserver", "slidehook.dpat"),
    "slidehook": ("worker", "webserver"),
}
"""Modules that a room must not import."""


def room_of(module: str) -> str | None:
    """Return the room of a module; None for the author's face itself, which leads to several."""
    parts = [*module.split("."), "", ""]
    if parts[0] != "slidehook":
        return parts[0]
    if parts[1:4] == ["dpat", "iaapi", "models"]:
        return "records"
    if parts[1] in ROOMS:
        return parts[1]
    return None if not parts[1] else OTHERS.get(parts[1], "foundation")


def files(root: str) -> Iterator[tuple[str, Path]]:
    path = HOUSE / root
    for each in [path] if path.is_file() else sorted(path.rglob("*.py")):
        yield ".".join(each.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__"), each


def imports(path: Path) -> Iterator[str]:
    """Return the modules of the house that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        yield from (each for each in names if each.partition(".")[0] in {"slidehook", "webserver", "worker"})


def drawn() -> set[tuple[str, str]]:
    """Return the arrows on the page."""
    (chart,) = re.findall(r"```mermaid\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return set(re.findall(r"(\w+) --> (\w+)", chart))


def reachable(arrows: set[tuple[str, str]], start: str) -> set[str]:
    found: set[str] = set()
    ahead = [start]
    while ahead:
        room = ahead.pop()
        new = {b for a, b in arrows if a == room} - found
        found |= new
        ahead += new
    return found


def used() -> set[tuple[str, str]]:
    """Return the arrows that the code has."""
    found = set()
    for root in ("slidehook", "webserver", "worker"):
        for module, path in files(root):
            here = room_of(module)
            for target in imports(path):
                there = room_of(target)
                if here is not None and there is not None and here != there:
                    found.add((here, there))
    return found


def test_the_arrows_lead_nowhere_back() -> None:
    arrows = drawn()
    assert arrows
    assert [room for room, _ in arrows if room in reachable(arrows, room)] == []


def test_no_import_goes_against_the_arrows() -> None:
    arrows = drawn()
    assert [f"{a} -> {b}" for a, b in sorted(used()) if b not in reachable(arrows, a)] == []


def test_every_arrow_is_used() -> None:
    """An arrow may stand for one that the code has only through the author's face, `slidehook`."""
    assert drawn() - used() <= {("measuring", "author"), ("apps", "measuring")}


def test_every_room_is_described() -> None:
    rows = "\n".join(line for line in PAGE.read_text().splitlines() if line.startswith("| `"))
    assert [room for room, _ in drawn() if f"`{room}" not in rows] == []


@pytest.mark.parametrize("root", ONLY)
def test_a_room_imports_only_what_it_may(root: str) -> None:
    for module, path in files(root):
        for target in imports(path):
            allowed = any(
                target == each or (each.endswith(".*") and f"{target}.".startswith(each[:-1])) for each in ONLY[root]
            )
            assert allowed, f"{module} imports {target}"


@pytest.mark.parametrize("root", NEVER)
def test_a_room_does_not_import_what_it_must_not(root: str) -> None:
    for module, path in files(root):
        assert [
            each for each in imports(path) if f"{each}.".startswith(tuple(f"{no}." for no in NEVER[root]))
        ] == [], module
