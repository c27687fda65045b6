"""What apps can ask for beside the slide's files: tiles and another app's result, and the memory they may take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from slidehook.jobs.job import JobState
from tests.e2e.conftest import Dpat, Site, running_site
from tests.e2e.running import wait_for
from tests.packages import install

PACKAGE = """
import numpy as np
from slidehook import App, PixelPoint, Result, Slide


class Mosaic(App):
    id = "mosaic"
    name = "Mosaic"
    needs = ("tiles",)

    def analyze(self, slide, progress):
        means = [tile.pixels.mean() for tile in slide.tiles(mpp=1, size=64)]
        result = Result(f"{len(means)} tiles", {"Mean": round(float(np.mean(means)), 1)})
        return result.polygon([PixelPoint(3072, 0), PixelPoint(6144, 0), PixelPoint(6144, 4608)])


class Above(App):
    id = "above"
    name = "Above"
    needs = ()
    depends_on = "mosaic"

    def analyze(self, slide, progress):
        corner = slide.dependency.shapes[0].points[0]
        return Result(f"above {slide.dependency.text}, {corner.x:g}", slide.dependency.properties)


class Greedy(App):
    id = "greedy"
    name = "Greedy"
    needs = ()
    memory_gb = 0.4

    def analyze(self, slide, progress):
        held = []
        while True:
            held.append(bytearray(20 * 2**20))
"""
APPS = {"mosaic": "Mosaic", "above": "Above", "greedy": "Greedy"}


@pytest.fixture(scope="module")
def asking_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = install(tmp_path_factory.mktemp("site-packages"), "asking_apps", PACKAGE, APPS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        with running_site(tmp_path_factory.mktemp("asking"), max_attempts="2", web_processes="1") as site:
            site.start_web()
            site.start_worker()
            yield site


@pytest.fixture
def asked(asking_site: Site, new_dpat: Callable[..., Dpat]) -> Dpat:
    """A DPAT in which these apps are registered."""
    dpat = new_dpat(asking_site)
    for name in APPS:
        dpat.register(f"{asking_site.url}/apps/{name}")
        dpat.enable(name)
    return dpat


def final(dpat: Dpat, app: str, slide_id: str) -> dict[str, Any]:
    def ended() -> bool:
        results = dpat.results(app, slide_id)
        return bool(results) and "Progress (%)" not in results[-1]["displayProperties"]

    assert dpat.wait_until(ended, 30), dpat.results(app, slide_id)
    (result,) = dpat.results(app, slide_id)
    return result


def fetched(dpat: Dpat, part: str) -> int:
    return sum(part in call.path for call in dpat.calls())


def test_tiles_are_read_from_dpat_without_its_files_and_show_the_same(asked: Dpat, asking_site: Site) -> None:
    slide_id = asked.add_slide()
    asked.invoke("mosaic", slide_id)
    from_dpat = final(asked, "mosaic", slide_id)
    assert from_dpat["displayResult"] == "432 tiles"
    assert from_dpat["displayProperties"]["Pixel size from"] == "DPAT"
    assert fetched(asked, f"/images/{slide_id}_files/") >= 30
    assert fetched(asked, "/files") == 0

    packed = asked.add_slide(isStreamable=False)
    asked.invoke("mosaic", packed)
    from_file = final(asked, "mosaic", packed)
    assert from_file["displayProperties"]["Pixel size from"] == "file"
    assert from_file["displayProperties"]["Mean"] == pytest.approx(from_dpat["displayProperties"]["Mean"], abs=1)
    assert fetched(asked, f"/images/{packed}_files/") == 0
    assert fetched(asked, f"/slides/{packed}/files") == 1
    assert asking_site.keeps_no_slide()


def test_another_apps_result_is_made_first_and_shown_nowhere(asked: Dpat, asking_site: Site) -> None:
    slide_id = asked.add_slide()
    asked.invoke("above", slide_id)
    result = final(asked, "above", slide_id)
    assert result["displayResult"] == "above 432 tiles, 3072"
    assert asked.results("mosaic", slide_id) == []
    calls = fetched(asked, f"/images/{slide_id}_files/")
    asking_site.job_in(JobState.DONE, slide_id)
    asked.invoke("above", slide_id)
    wait_for(lambda: asking_site.programs[-1].text().count("found before") == 1, "the result is found")
    final(asked, "above", slide_id)
    assert fetched(asked, f"/images/{slide_id}_files/") == calls


def test_an_app_that_needs_too_much_memory_fails_on_its_slide_and_the_worker_goes_on(
    asked: Dpat, asking_site: Site
) -> None:
    slide_id, other = asked.add_slide(), asked.add_slide()
    asked.invoke("greedy", slide_id)
    assert final(asked, "greedy", slide_id)["displayResult"] == (
        "failed: the analysis needed more than 0.4 GB of memory"
    )
    assert asking_site.job_in(JobState.FAILED, slide_id).attempt == 1
    asked.create(other)
    assert asked.final(other)["displayResult"] == "ANSWER: 42"


def test_a_token_that_expires_while_tiles_are_read_parks_the_job_until_somebody_asks_again(
    asked: Dpat, asking_site: Site
) -> None:
    slide_id = asked.add_slide()
    asked.add_fault(f"/images/{slide_id}_files/", "status", status=401, count=1000)
    asked.invoke("mosaic", slide_id)
    asking_site.job_in(JobState.PARKED, slide_id)
    asked.clear_faults()
    assert asked.invoke("mosaic", slide_id).ok
    assert final(asked, "mosaic", slide_id)["displayResult"] == "432 tiles"


def test_a_dpat_that_gives_no_tiles_for_a_while_is_asked_again_later(asked: Dpat, asking_site: Site) -> None:
    slide_id = asked.add_slide()
    away = {"Retry-After": "30"}
    asked.add_fault(f"/images/{slide_id}_files/", "status", status=503, headers=away, count=1000)
    asked.invoke("mosaic", slide_id)

    def waits() -> bool:
        return any(
            each["displayResult"].startswith("waiting to try again") for each in asked.results("mosaic", slide_id)
        )

    assert asked.wait_until(waits, 30)
    job = asking_site.job_in(JobState.PARKED, slide_id)
    assert "503" in str(job.record.events[-1])
    asked.clear_faults()
