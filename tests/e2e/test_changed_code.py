"""Code, files and parameters of an app that change while a worker and a webserver run."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slidehook.simulator.invoking import Answer
from tests.e2e.conftest import Dpat, Site
from tests.e2e.running import Program, wait_for
from tests.packages import install

SOURCE = """
from pathlib import Path

from slidehook import App, Result

from edited_part import WORD

MODEL = Path(__file__).with_name("model.bin")


class Edited(App):
    id = "edited"
    name = "Edited, first"
    needs = ()

    def files(self):
        return [MODEL]

    def setup(self):
        self.model = MODEL.read_text()

    def analyze(self, slide, progress):
        return Result(f"first {WORD} {self.model}")
"""
OFFERED = ["id", "name", "version"]


class Edits:
    """An author's folder of apps, the site that runs them, and a DPAT in which they are registered."""

    def __init__(self, folder: Path, site: Site, dpat: Dpat) -> None:
        self.folder = folder
        self.site = site
        self.dpat = dpat
        self.web, self.worker = site.programs

    def edit(self, old: str, new: str, file: str = "edited_app.py") -> None:
        """Replace a text by another one of the same length, so that neither size nor second need tell."""
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def create(self) -> str:
        slide_id = self.dpat.add_slide()
        answer: Answer = self.dpat.invoke("edited", slide_id)
        assert answer.ok, answer
        return slide_id

    def final(self, slide_id: str) -> dict[str, Any]:
        def ended() -> bool:
            results = self.dpat.results("edited", slide_id)
            return bool(results) and "Progress (%)" not in results[-1]["displayProperties"]

        assert self.dpat.wait_until(ended, 60), self.worker.text()[-3000:]
        (result,) = self.dpat.results("edited", slide_id)
        return dict(result)

    def result(self) -> tuple[str, str]:
        """Have a new slide analysed; returns the result's text and its fingerprint."""
        found = self.final(self.create())
        return found["displayResult"], found["displayProperties"]["App fingerprint"]


@pytest.fixture
def edits(tmp_path: Path, new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]) -> Iterator[Edits]:
    folder = tmp_path / "authors"
    folder.mkdir()
    install(folder, "edited_app", SOURCE, {"edited": "Edited"})
    (folder / "edited_part.py").write_text("WORD = 'red'\n")
    (folder / "model.bin").write_text("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        # The programs are to write compiled files, as they do where nobody forbids it.
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        site = new_site(max_attempts="1", web_processes="2")
        site.start_web()
        site.start_worker()
        dpat = new_dpat(site)
        dpat.register(f"{site.url}/apps/edited")
        dpat.enable("edited")
        yield Edits(folder, site, dpat)


def times(program: Program, words: str) -> int:
    return program.text().count(words)


def test_each_job_is_run_by_the_code_on_disk_and_its_result_says_which(edits: Edits) -> None:
    text, before = edits.result()
    assert text == "first red small"
    assert re.fullmatch("[0-9a-f]{12}", before)
    edits.edit("first {WORD}", "other {WORD}")
    edited, after = edits.result()
    assert edited == "other red small"
    assert after != before
    assert times(edits.worker, "apps changed on disk") == 1
    assert f"edited: {edits.folder / 'edited_app.py'}" in edits.worker.text()
    assert f"fingerprint={after}" in edits.worker.text()
    edits.edit("other {WORD}", "first {WORD}")
    assert edits.result() == (text, before)
    assert edits.worker.process.poll() is None


def test_a_module_beside_the_apps_own_and_a_model_count_too(edits: Edits) -> None:
    prints = {edits.result()[1]}
    edits.edit("red", "tan", "edited_part.py")
    text, after = edits.result()
    assert text == "first tan small"
    prints.add(after)
    (edits.folder / "model.bin").write_text("large")
    text, after = edits.result()
    assert text == "first tan large"
    assert len({*prints, after}) == 3


def test_a_half_saved_edit_fails_no_job(edits: Edits) -> None:
    edits.result()
    edits.edit("return Result(", "return Result[")
    slide_id = edits.create()
    wait_for(lambda: "app does not load" in edits.worker.text(), "the worker says so")
    edits.edit('return Result[f"first', 'return Result(f"third')
    assert edits.final(slide_id)["displayResult"] == "third red small"
    assert times(edits.worker, "app does not load") == 1


# --- the webserver


def test_the_webserver_offers_what_is_on_disk_and_keeps_what_no_longer_loads(edits: Edits) -> None:
    def name() -> str:
        return str(edits.site.get("/apps/edited").json()["displayName"])

    def names() -> set[str]:
        # Both of gunicorn's processes answer some of them.
        return {name() for _ in range(10)}

    assert names() == {"Edited, first"}
    edits.edit("Edited, first", "Edited, again")
    assert names() == {"Edited, again"}
    assert "apps changed on disk, the webserver reloads them" in edits.web.text()
    edits.edit("return Result(", "return Result[")
    assert names() == {"Edited, again"}
    assert "app does not load, its earlier version stays in use" in edits.web.text()
    edits.edit("return Result[", "return Result(")
    edits.edit("Edited, again", "Edited, third")
    assert names() == {"Edited, third"}
    assert 1 <= times(edits.web, "app does not load") <= 2


def test_an_app_that_is_installed_while_they_run_is_offered_and_run(edits: Edits) -> None:
    source = SOURCE.replace('"edited"', '"further"').replace("Edited", "Further").replace("{WORD}", "further")
    install(edits.folder, "further_app", source, {"further": "Further"})
    edits.dpat.register(f"{edits.site.url}/apps/further")
    edits.dpat.enable("further")
    slide_id = edits.dpat.add_slide()
    assert edits.dpat.invoke("further", slide_id).ok

    def ended() -> bool:
        results = edits.dpat.results("further", slide_id)
        return bool(results) and results[-1]["displayResult"] == "first further small"

    assert edits.dpat.wait_until(ended, 60), edits.worker.text()[-3000:]
    assert "apps changed on disk" in edits.web.text()
    assert "the installed apps" in edits.worker.text()


def test_several_workers_start_anew_one_by_one_and_end_as_told(edits: Edits) -> None:
    edits.worker.kill(signal.SIGTERM)
    assert edits.worker.ended() == 0
    workers = edits.site.start_worker("--processes", "2")
    wait_for(lambda: times(workers, "worker ready") == 2, "both are ready")
    before = set(workers.children())
    edits.edit("first {WORD}", "other {WORD}")
    wait_for(lambda: times(workers, "worker ready") == 4, "both are ready again")
    assert edits.result()[0] == "other red small"
    assert set(workers.children()) == before  # the same processes, in which new programs run
    workers.kill(signal.SIGTERM)
    assert workers.ended(60) == 0
    assert "started again" not in workers.text()
