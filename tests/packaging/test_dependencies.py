"""Everything that is imported is declared, everything declared is used, and nothing private of others is imported."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

HOUSE = Path(__file__).resolve().parents[2]
OURS = {"slidehook", "webserver", "worker", "tests", "benchmarks"}
PROJECT: dict[str, Any] = tomllib.loads((HOUSE / "pyproject.toml").read_text())
USED_OTHERWISE = {
    "openslide-bin": "the library that openslide-python loads",
    "fastapi": "the mock server of sectra-image-analysis-api needs it",
    "uvicorn": "the mock server of sectra-image-analysis-api needs it",
    "mypy": "a command of test_run.sh",
    "ruff": "a command of test_run.sh",
    "pytest-timeout": "an option in pyproject.toml",
    "pytest-xdist": "an option of test_run.sh",
    "types-requests": "read by mypy",
    "types-shapely": "read by mypy",
}
"""Declared packages that no module imports, and what uses them."""


def named(requirements: list[str]) -> set[str]:
    return {normalized(re.split(r"[^\w.-]", each, maxsplit=1)[0]) for each in requirements}


def normalized(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


SERVER = named(PROJECT["project"]["dependencies"])
EXTRAS = {name: named(each) for name, each in PROJECT["project"]["optional-dependencies"].items()}
GROUPS = {name: named(each) for name, each in PROJECT["dependency-groups"].items()}
DISTRIBUTIONS = {
    module: {normalized(each) for each in distributions} for module, distributions in packages_distributions().items()
}


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (HOUSE / folder).rglob("*.py")


def foreign_imports(path: Path) -> Iterator[tuple[str, str]]:
    """Return the module and the name of each import from another package; the name is empty in `import module`."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        found: list[tuple[str, str]] = []
        match node:
            case ast.Import(names=names):
                found = [(each.name, "") for each in names]
            case ast.ImportFrom(module=str(module), names=names, level=0):
                found = [(module, each.name) for each in names]
            case ast.Call(
                func=ast.Name(id="import_module") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                found = [(module, "")]
        for module, name in found:
            if module.partition(".")[0] not in OURS | sys.stdlib_module_names | {"_typeshed"}:
                yield module, name


def imported(*folders: str) -> dict[str, set[str]]:
    """Return the distributions that modules import, each with the modules."""
    found: dict[str, set[str]] = {}
    for path in sources(*folders):
        for module, _ in foreign_imports(path):
            for distribution in DISTRIBUTIONS.get(module.partition(".")[0], set()):
                found.setdefault(distribution, set()).add(str(path.relative_to(HOUSE)))
    return found


def test_the_server_imports_nothing_that_it_does_not_declare() -> None:
    allowed = {"slidehook/simulator/": EXTRAS["simulator"], "slidehook/measuring/tilemodel.py": EXTRAS["onnx"]}
    undeclared = {
        (distribution, path)
        for distribution, paths in imported("slidehook", "webserver", "worker").items()
        if distribution not in SERVER
        for path in paths
        if not any(path.startswith(start) and distribution in extra for start, extra in allowed.items())
    }
    assert undeclared == set()


def test_the_tests_import_nothing_that_is_not_declared() -> None:
    declared = SERVER.union(*EXTRAS.values(), GROUPS["dev"])
    assert {each: paths for each, paths in imported("tests").items() if each not in declared} == {}


def test_the_benchmarks_import_nothing_that_is_not_declared() -> None:
    installed = imported("benchmarks").keys()
    declared = SERVER.union(*EXTRAS.values(), *GROUPS.values())
    assert installed <= declared


def test_every_declared_package_is_used() -> None:
    server = imported("slidehook", "webserver", "worker").keys()
    everything = imported("slidehook", "webserver", "worker", "tests").keys()
    assert SERVER - server - USED_OTHERWISE.keys() == set()
    assert set().union(*EXTRAS.values()) - server == set()
    assert GROUPS["dev"] - everything - USED_OTHERWISE.keys() == set()
    assert USED_OTHERWISE.keys() <= SERVER | GROUPS["dev"]


@pytest.mark.parametrize(
    "requirement",
    [
        *PROJECT["project"]["dependencies"],
        *(each for extra in PROJECT["project"]["optional-dependencies"].values() for each in extra),
        *(each for group in PROJECT["dependency-groups"].values() for each in group),
    ],
)
def test_every_declared_package_has_a_lower_bound(requirement: str) -> None:
    assert re.search(r">=\d", requirement)


def test_no_module_imports_what_is_private_in_another_package() -> None:
    private = [
        (str(path.relative_to(HOUSE)), module, name)
        for path in sources("slidehook", "webserver", "worker", "tests", "benchmarks")
        for module, name in foreign_imports(path)
        if any(part.startswith("_") for part in (*module.split("."), name))
    ]
    assert private == []


def test_a_private_import_would_be_found(tmp_path: Path) -> None:
    path = tmp_path / "odd.py"
    path.write_text("from watchfiles._rust_notify import RustNotify\nfrom numpy import _core\nimport json\n")
    assert list(foreign_imports(path)) == [("watchfiles._rust_notify", "RustNotify"), ("numpy", "_core")]
