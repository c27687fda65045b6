"""An app's package is refused, before anything is installed, if its modules have the names of slidehook's own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.docs.test_write_an_app import checkout
from tests.e2e.running import HOUSE

OURS = ("slidehook", "webserver", "worker", "tests", "benchmarks")
BUILT_BY_UV = """
[project]
name = "new-app"
version = "1.0"
requires-python = ">=3.11"

[build-system]
requires = ["uv_build>=0.8"]
build-backend = "uv_build"

[tool.uv.build-backend]
module-name = {modules}
namespace = true
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("house") / "slidehook"
    checkout(folder)
    for each in OURS:
        (folder / each).symlink_to(HOUSE / each)
    return folder


def package(folder: Path, *modules: str) -> Path:
    """Write a package that ships these modules."""
    for each in modules:
        (folder / "src" / each).mkdir(parents=True)
        (folder / "src" / each / "__init__.py").write_text('"""A module."""\n')
    (folder / "pyproject.toml").write_text(BUILT_BY_UV.format(modules=list(modules)))
    return folder


def install(house: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"}}
    command = [str(house / "deploy" / "install_app.sh"), *words]
    return subprocess.run(command, env=env | {"UV_OFFLINE": "1"}, capture_output=True, text=True, check=False)


def installed(house: Path) -> set[str]:
    (packages,) = (house / ".venv" / "lib").glob("python*/site-packages")
    return {each.name for each in packages.iterdir()}


@pytest.mark.parametrize("module", OURS)
@pytest.mark.parametrize("options", [(), ("-e",)])
def test_a_package_with_a_module_of_ours_is_refused(
    house: Path, tmp_path: Path, module: str, options: tuple[str, ...]
) -> None:
    before = installed(house)
    refused = install(house, *options, str(package(tmp_path, "new_app", module)))
    assert refused.returncode == 1
    assert refused.stderr == (
        f"nothing was installed: the package has a module '{module}', and so has slidehook; "
        "rename the package's module\n"
    )
    assert installed(house) == before


def test_a_package_with_modules_of_its_own_is_installed(house: Path, tmp_path: Path) -> None:
    done = install(house, str(package(tmp_path, "new_app", "worker_of_new_app")))
    assert done.returncode == 0, done.stderr
    assert {"new_app", "worker_of_new_app", "new_app-1.0.dist-info"} <= installed(house)


def test_a_package_that_can_not_be_built_is_reported_once(house: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'new-app'\n")
    before = installed(house)
    failed = install(house, str(tmp_path))
    assert failed.returncode != 0
    assert failed.stderr.strip()
    assert installed(house) == before
