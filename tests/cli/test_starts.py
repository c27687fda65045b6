"""What a start does not import: seconds differ from machine to machine, what is loaded does not."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import slidehook

HEAVY = {
    "PIL",
    "flask",
    "numpy",
    "openslide",
    "pydantic",
    "requests",
    "rich",
    "scipy",
    "shapely",
    "skimage",
    "structlog",
}
MEASURING = {
    "scipy.ndimage",
    "skimage.filters.thresholding",
    "skimage.measure._find_contours",
    "skimage.segmentation._watershed",
}


def loaded_by(code: str, **variables: str) -> set[str]:
    """Return the names of the modules that a fresh Python has loaded after `code`."""
    command = [sys.executable, "-c", f"{code}\nimport sys\nprint('loaded:', *sys.modules)"]
    env = {**os.environ, **variables}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("loaded:")[2].split())


@pytest.mark.parametrize(
    "code",
    [
        "import slidehook",
        "from slidehook.cli.main import main\nmain(['--help'], standalone_mode=False)",
    ],
)
def test_neither_the_import_nor_help_loads_what_analyses_need(code: str) -> None:
    loaded = loaded_by(code)
    assert "slidehook" in loaded
    assert loaded & HEAVY == set()


def test_a_list_of_jobs_loads_no_app_and_nothing_that_apps_need(tmp_path: Path) -> None:
    code = "from slidehook.cli.main import main\nmain(['jobs', 'list'], standalone_mode=False)"
    loaded = loaded_by(code, SLIDEHOOK_QUEUE_DIR=str(tmp_path))
    assert "slidehook.cli.jobs" in loaded
    assert loaded & {"PIL", "numpy", "openslide", "requests", "scipy", "shapely", "slidehook.app"} == set()


@pytest.mark.parametrize("program", ["worker.cli", "webserver"])
def test_a_program_that_has_loaded_the_apps_has_not_loaded_what_they_measure_with(program: str) -> None:
    loaded = loaded_by(
        f"import {program}\n"
        "from slidehook.registry.registry import load_apps\n"
        "from slidehook.settings import Settings\n"
        "assert load_apps(Settings(_env_file=None))"
    )
    assert "slidehook.measuring.tissue" in loaded
    assert loaded & MEASURING == set()


def test_every_public_name_comes_from_where_type_checkers_see_it() -> None:
    tree = ast.parse(Path(slidehook.__file__).read_text())
    seen = {
        (each.name, node.module)
        for branch in tree.body
        if isinstance(branch, ast.If)
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for each in node.names
    }
    assert seen == {(name, module) for module, names in slidehook._NAMES.items() for name in names}
    assert sorted(name for name, _ in seen) == sorted(slidehook.__all__)
    for name, module in seen:
        assert getattr(slidehook, name) is getattr(sys.modules[str(module)], name)
    assert set(slidehook.__all__) <= set(dir(slidehook))


def test_a_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(AttributeError, match="module 'slidehook' has no attribute 'Slied'"):
        slidehook.Slied  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'Slied'"):
        exec("from slidehook import Slied")  # noqa: S102
