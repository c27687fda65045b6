"""The rooms of the queue, and who may import whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[2]
JOBS = "slidehook.jobs"
RULES = {
    f"{JOBS}.job": set(),
    f"{JOBS}.rules": {f"{JOBS}.job"},
    f"{JOBS}.contract": {f"{JOBS}.job"},
    f"{JOBS}.taking_in": {f"{JOBS}.job", f"{JOBS}.contract"},
    f"{JOBS}.files": {f"{JOBS}.job", f"{JOBS}.rules", f"{JOBS}.contract"},
    f"{JOBS}.memory": {f"{JOBS}.job", f"{JOBS}.rules", f"{JOBS}.contract"},
    f"{JOBS}.factory": {f"{JOBS}.contract", f"{JOBS}.files", f"{JOBS}.memory"},
}
"""What each room of the queue may import of the others."""
SYSTEMS = ("slidehook.dpat", "slidehook.folder", "slidehook.memory_system", "slidehook.systems")


def imported(path: Path) -> Iterator[str]:
    """Return the modules that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)


def modules(root: str) -> dict[str, Path]:
    """Return the files of a package by their modules' names."""
    return {
        ".".join(path.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((HOUSE / root).rglob("*.py"))
    }


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


@pytest.mark.parametrize("room", RULES)
def test_a_room_of_the_queue_imports_only_what_it_may(room: str) -> None:
    found = {name: path for name, path in modules("slidehook/jobs").items() if within(name, room)}
    assert found
    for name, path in found.items():
        for target in imported(path):
            if within(target, JOBS) and not within(target, room):
                assert any(within(target, each) for each in RULES[room]), f"{name} imports {target}"


def test_the_queue_knows_no_system() -> None:
    for name, path in modules("slidehook/jobs").items():
        assert not [each for each in imported(path) if each.startswith(SYSTEMS)], name


@pytest.mark.parametrize("root", ["slidehook", "webserver", "worker"])
def test_nobody_else_names_a_backend(root: str) -> None:
    for name, path in modules(root).items():
        if not within(name, JOBS):
            backends = [
                each for each in imported(path) if within(each, f"{JOBS}.files") or within(each, f"{JOBS}.memory")
            ]
            assert not backends, name


def test_no_module_of_the_queue_imports_itself_in_a_circle() -> None:
    names = modules("slidehook/jobs")
    arrows = {
        name: {each for each in imported(path) if each in names and each != name} for name, path in names.items()
    }
    while leaves := {name for name, targets in arrows.items() if not targets & arrows.keys()}:
        arrows = {name: targets for name, targets in arrows.items() if name not in leaves}
    assert not arrows
