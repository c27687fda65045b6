"""docs/write-an-app.md, followed by a reader from an empty folder to a result on a slide in DPAT."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import types
import venv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile

from slidehook import App, Slide, local_slide
from slidehook.simulator.options import Options
from slidehook.simulator.server import Simulator
from tests.e2e.conftest import running_site
from tests.e2e.running import HOUSE

PAGE = HOUSE / "docs" / "write-an-app.md"
BLOCK = re.compile(r"((?:^[^\n]+\n)*)\n?^```(\w+)\n(.*?)^```", re.M | re.S)
FILE = re.compile(r"`([\w./-]+)`:\s*$")
SITE_FILE = re.compile(r"`<DATA_DIR>/([\w./-]+)`[^`]*:\s*$")
SHARED = ("deploy", ".uv")
"""What the reader's checkout has of the real one; its environment is its own, since the page installs into it."""

pytestmark = pytest.mark.timeout(400)


@dataclass(frozen=True)
class Reader:
    """Somebody's home after following the page: what each of its commands printed, and what the page says they do."""

    home: Path
    said: dict[str, str]
    promised: list[tuple[str, str]]

    @property
    def folder(self) -> Path:
        return self.home / "stained-area"


def checkout(folder: Path) -> None:
    """Make a checkout that shares this one's packages, but keeps what is installed into it to itself."""
    folder.mkdir()
    for name in SHARED:
        if (HOUSE / name).exists():
            (folder / name).symlink_to(HOUSE / name)
    venv.create(folder / ".venv", symlinks=True)
    (packages,) = (folder / ".venv" / "lib").glob("python*/site-packages")
    (real,) = (HOUSE / ".venv" / "lib").glob("python*/site-packages")
    for path in real.iterdir():
        if path.suffix == ".dist-info":
            # uv takes no links for what is installed.
            (packages / path.name).mkdir()
            for file in path.rglob("*"):
                if file.is_file():
                    target = packages / path.name / file.relative_to(path)
                    target.parent.mkdir(exist_ok=True, parents=True)
                    target.write_bytes(file.read_bytes())
        elif not (packages / path.name).exists():
            (packages / path.name).symlink_to(path)
    command = folder / ".venv" / "bin" / "slidehook"
    command.write_text(f"#!{folder}/.venv/bin/python\nfrom slidehook.cli.main import main\nmain()\n")
    command.chmod(0o755)


def script(data: Path) -> tuple[str, list[str], list[tuple[str, str]]]:
    """Return the page as one shell script, its commands in order, and what it says that each prints."""
    lines, commands, promised = ["set -euo pipefail"], [], []
    for before, language, text in BLOCK.findall(PAGE.read_text()):
        if language == "bash":
            commands.append(text)
            lines += [f"echo '=== {len(commands) - 1}'", text]
        elif language == "text":
            promised.append((commands[-1], text))
        else:
            site, named = SITE_FILE.search(before), FILE.search(before)
            assert site or named, f"the page does not say what file this is:\n{text}"
            path = f"{data}/{site[1]}" if site else named[1] if named else ""
            lines += [f"mkdir -p $(dirname {path})", f"cat > {path} <<'END OF FILE'\n{text}END OF FILE"]
    return "\n".join(lines), commands, promised


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    home = tmp_path_factory.mktemp("home")
    checkout(home / "slidehook")
    content, commands, promised = script(home / "data")
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SLIDEHOOK_", "PYTHON", "PYTEST", "VIRTUAL_ENV", "UV_", "COV_"))
    }
    # The page needs no network, and the test shows it.
    env = clean | {"HOME": str(home), "SLIDEHOOK_DATA_DIR": str(home / "data"), "UV_OFFLINE": "1"}
    done = subprocess.run(
        ["bash", "-c", content],
        cwd=home,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    parts = re.split(r"^=== \d+\n", done.stdout, flags=re.M)[1:]
    return Reader(home, dict(zip(commands, parts, strict=True)), promised)


def test_it_names_all_that_an_app_can_declare_and_all_that_a_slide_offers() -> None:
    page = PAGE.read_text()
    ours = {"input_template", "code_digest", "most_record_bytes"}
    declared = {name for name in vars(App) if not name.startswith("_")} - ours
    assert {name for name in declared if not re.search(rf"^\|.*`{name}[`(]", page, re.M)} == set()
    offered = {name for name in vars(Slide) if not name.startswith("_")} - {"close", "pixels"}
    assert {name for name in offered if not re.search(rf"^\|.*`{name}[`(]", page, re.M)} == set()


def words(text: str) -> str:
    return " ".join(text.split())


def test_its_commands_print_what_it_says(reader: Reader) -> None:
    assert reader.promised
    for command, promised in reader.promised:
        for line in promised.splitlines():
            assert words(line) in words(reader.said[command])


def test_its_runs_leave_what_it_says(reader: Reader) -> None:
    for run in ("immuno-stained-area", "immuno-dicom-stained-area", "immuno-dark-spots", "immuno-largest-stained"):
        found = {path.name for path in (reader.folder / run).iterdir()}
        assert found == {"result.json", "overlay.png", "result.geojson"}
    gallery = json.loads((reader.folder / "immuno-dark-spots" / "result.json").read_text())
    assert gallery["displayProperties"]["Region"] == "tumour"
    assert len(gallery["data"]["result"]["content"]["patches"]) == 12


def test_its_package_is_listed_and_tuned_by_the_sites_file(reader: Reader) -> None:
    (listed,) = [text for command, text in reader.said.items() if "slidehook apps" in command]
    assert "stained-area" in listed
    bin_folder = reader.home / "slidehook" / ".venv" / "bin"
    env = {"PATH": f"{bin_folder}:{os.environ['PATH']}", "SLIDEHOOK_DATA_DIR": str(reader.home / "data")}
    told = subprocess.run(
        ["slidehook", "apps", "--json"], cwd=reader.home, env=env, capture_output=True, text=True, check=True
    )
    (app,) = [each for each in json.loads(told.stdout)["apps"] if each["id"] == "stained-area"]
    assert app["params"]["red_over_blue"] == {"default": 40, "value": 60}


def test_its_app_gives_a_result_on_a_slide_in_dpat(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The scripts run in the real checkout's environment, which the page must not change: so they are told of the app.
    (info,) = (reader.home / "slidehook" / ".venv" / "lib").glob("python*/site-packages/stained_area-*.dist-info")
    (tmp_path / "installed").mkdir()
    (tmp_path / "installed" / info.name).symlink_to(info)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'installed'}:{reader.folder / 'src'}")
    with (
        running_site(tmp_path / "site", web_processes="1") as site,
        Simulator(reader.home / "slides", Options(strict=True)) as dpat,
    ):
        site.start_web()
        site.start_worker()
        dpat.register(f"{site.url}/apps/stained-area")
        dpat.enable("stained-area", notifications=False)
        dpat.invoke("stained-area", "immuno")

        def final() -> bool:
            results = dpat.results("stained-area", "immuno")
            return bool(results) and "Progress (%)" not in results[-1]["displayProperties"]

        assert dpat.wait_until(final, 60), dpat.results("stained-area", "immuno")
        (result,) = dpat.results("stained-area", "immuno")
    assert result["displayResult"] == "0.45 mm² stained"
    assert result["displayProperties"]["Stained (mm²)"] == 0.449


def test_its_app_outlines_what_is_not_stained_within_the_stain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = np.full((2048, 2048, 3), 240, np.uint8)
    ring[256:1792, 256:1792] = (150, 100, 60)
    ring[768:1280, 768:1280] = 240
    path = tmp_path / "ring.tiff"
    tifffile.imwrite(
        path, ring, tile=(256, 256), photometric="rgb", resolution=(40_000, 40_000), resolutionunit="CENTIMETER"
    )
    (code,) = [text for _, _, text in BLOCK.findall(PAGE.read_text()) if "class StainedArea" in text]
    module = types.ModuleType("stained_area")
    monkeypatch.setitem(sys.modules, "stained_area", module)
    exec(code, vars(module))  # noqa: S102
    with local_slide(path) as slide:
        result = module.StainedArea().analyze(slide, lambda percent, text="": None)
    assert [each.name for each in result.shapes] == ["stained", "hole in stained"]
