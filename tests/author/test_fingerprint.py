from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from slidehook.registry.fingerprint import fingerprint, fingerprint_of
from slidehook.registry.registry import GROUP, Registry, load_apps
from slidehook.registry.source_files import Code
from slidehook.settings import Settings
from tests.packages import install

APP = """
from pathlib import Path

from pydantic import BaseModel

import numpy
import lonely_part
from slidehook import App, Result
from slidehook.measuring import stains


class Params(BaseModel):
    depth: int = 1


class Lonely(App):
    id = "lonely"
    name = "Lonely"
    params: Params = Params()

    def files(self):
        return [Path(__file__).with_name("lonely_model")]

    def analyze(self, slide, progress):
        from lonely_late import WORD

        return Result(WORD)


class Said(Lonely):
    id = "said"
    version = "3.2"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An author's installed module, and what lies beside it."""
    folder = tmp_path / "authors"
    folder.mkdir()
    install(folder, "lonely_app", APP, {"lonely": "Lonely", "said": "Said"})
    for name in ("lonely_part", "lonely_late", "lonely_other"):
        (folder / f"{name}.py").write_text("WORD = 'red'\n")
    (folder / "lonely_model").write_text("model")
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    forget()


def forget() -> None:
    for name in [each for each in sys.modules if each.startswith("lonely_")]:
        del sys.modules[name]


def load(settings: Settings) -> Registry:
    forget()
    return load_apps(settings)


def test_an_apps_code_is_its_module_and_what_of_its_own_it_imports_wherever(folder: Path) -> None:
    found = set(Code("lonely_app").sources)
    assert "slidehook.measuring.stains" in found
    assert {name for name in found if not name.startswith("slidehook.measuring")} == {
        "lonely_app", "lonely_part", "lonely_late"
    }  # fmt: skip


def test_in_a_package_relative_imports_and_the_packages_above_count(tmp_path: Path) -> None:
    package = tmp_path / "lonely_package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("from .inner.app import Mine\n")
    (package / "inner" / "__init__.py").write_text("")
    (package / "inner" / "app.py").write_text("from .. import beside\nfrom . import *\nclass Mine: ...\n")
    (package / "beside.py").write_text("def half(:\n")
    (package / "unused.py").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        found = set(Code("lonely_package").sources)
    assert found == {
        f"lonely_package{each}" for each in ("", ".inner", ".inner.app", ".beside")
    }  # fmt: skip


def test_what_is_installed_counts_when_the_apps_distribution_brings_it(tmp_path: Path) -> None:
    place = tmp_path / "site-packages"
    place.mkdir()
    (place / "lonely_app.py").write_text("import lonely_lib, lonely_other\n")
    (place / "lonely_lib.py").write_text("")
    (place / "lonely_other.py").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        assert set(Code("lonely_app").sources) == {"lonely_app"}
        assert set(Code("lonely_app", ["lonely_lib"]).sources) == {"lonely_app", "lonely_lib"}


def test_only_another_content_is_a_change(folder: Path) -> None:
    code = Code("lonely_app")
    path = folder / "lonely_late.py"
    stat = path.stat()
    (folder / "notes.txt").write_text("a new file in the folder")
    os.utime(path)
    assert code.changed() == []
    path.write_text("WORD = 'tan'\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert code.changed() == [path]
    path.write_text("WORD = 'red'\n")
    assert code.changed() == []
    path.unlink()
    assert code.changed() == [path]


def test_a_module_that_now_comes_before_another_is_a_change(folder: Path) -> None:
    code = Code("lonely_app")
    (folder / "lonely_part").mkdir()
    (folder / "lonely_part" / "__init__.py").write_text("")
    assert code.changed() == [folder / "lonely_part" / "__init__.py"]


def test_what_runs_is_what_the_file_says_though_time_and_size_are_the_same(folder: Path, settings: Settings) -> None:
    path = folder / "lonely_part.py"
    stat = path.stat()
    forget()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", False)
        __import__("lonely_part")  # leaves a compiled file
        path.write_text("WORD = 'tan'\n")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        load(settings)
        assert sys.modules["lonely_part"].WORD == "tan"


def test_the_version_is_the_distributions_unless_the_class_says_one(folder: Path, settings: Settings) -> None:
    about = folder / "lonely_app-1.0.dist-info"
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: lonely_app\nVersion: 4.5.6\n")
    found = load(settings)
    assert (found["lonely"].version, found["said"].version) == ("4.5.6", "3.2")


def test_the_fingerprint_names_code_files_and_parameters(folder: Path, settings: Settings, tmp_path: Path) -> None:
    app = load(settings)["lonely"]
    found = [fingerprint(app)]
    assert fingerprint(load(settings)["lonely"]) == found[0]
    (folder / "lonely_model").write_text("other")
    found.append(fingerprint(app))
    app.params = app.params.model_copy(update={"depth": 2})
    found.append(fingerprint(app))
    (folder / "lonely_late.py").write_text("WORD = 'tan'\n")
    assert fingerprint(app) == found[-1]  # this process has the code from before
    found.append(fingerprint(load(settings)["lonely"]))
    assert len(set(found)) == 4
    assert fingerprint_of([load(settings)["said"], app]) == f"{found[2]} on {fingerprint(load(settings)['said'])}"


def test_it_is_the_same_wherever_the_code_lies(folder: Path, settings: Settings, tmp_path: Path) -> None:
    before = fingerprint(load(settings)["lonely"])
    shutil.copytree(folder, tmp_path / "elsewhere")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(tmp_path / "elsewhere"), *(each for each in sys.path if each != str(folder))])
        assert fingerprint(load(settings)["lonely"]) == before
        assert sys.modules["lonely_app"].__file__ == str(tmp_path / "elsewhere" / "lonely_app.py")


def test_a_registry_says_what_has_changed(folder: Path, settings: Settings, tmp_path: Path) -> None:
    settings = settings.model_copy(update={"data_dir": tmp_path})
    registry = load(settings)
    assert registry.changed() is None
    (folder / "lonely_model").unlink()
    assert registry.changed() == f"lonely: {folder / 'lonely_model'}, said: {folder / 'lonely_model'}"
    (folder / "lonely_model").write_text("model")
    assert registry.changed() is None
    (tmp_path / "apps").mkdir()
    (tmp_path / "apps" / "said.toml").write_text("depth = 3")
    assert registry.changed() == f"said: {tmp_path / 'apps' / 'said.toml'}"
    registry = load(settings)
    shutil.rmtree(folder / "lonely_app-1.0.dist-info")
    assert registry.changed() == registry.changed() == "the installed apps"


def test_code_that_changes_while_it_is_loaded_is_not_offered(folder: Path, settings: Settings) -> None:
    with (folder / "lonely_part.py").open("a") as file:
        file.write("with open(__file__, 'a') as file:\n    file.write('#')\n")
    forget()
    registry = load_apps(settings, [EntryPoint("lonely", "lonely_app:Lonely", GROUP)])
    (broken,) = registry.broken
    assert broken.reason == f"{folder / 'lonely_part.py'} changed while it was loaded"
    assert registry.changed() == f"lonely_app:Lonely: {folder / 'lonely_part.py'}"


def test_an_app_that_can_not_name_its_files_is_not_offered(folder: Path, settings: Settings) -> None:
    (folder / "lonely_app.py").write_text(APP.replace('return [Path(__file__).with_name("lonely_model")]', "1 / 0"))
    reasons = {each.reason for each in load(settings).broken}
    assert "the app lonely can't name its files: ZeroDivisionError: division by zero" in reasons


def test_a_file_in_a_folder_that_the_app_names_counts(folder: Path, settings: Settings) -> None:
    (folder / "lonely_model").unlink()
    (folder / "lonely_model" / "deep").mkdir(parents=True)
    weights = folder / "lonely_model" / "deep" / "weights"
    weights.write_text("1")
    registry = load(settings)
    before = fingerprint(registry["lonely"])
    assert [registry.changed() for _ in range(3)] == [None] * 3
    weights.write_text("2")
    assert str(weights) in str(registry.changed())
    assert fingerprint(registry["lonely"]) != before
