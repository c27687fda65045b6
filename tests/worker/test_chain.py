from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from slidehook.errors import AppCrashed, AppError, AppOutOfMemory
from slidehook.jobs.job import Job
from slidehook.models import ImageInfo, MultiAreaInput, Size
from slidehook.registry.registry import Registry, load_apps
from slidehook.result import Result
from slidehook.running.app_process import AppProcess
from slidehook.running.chain import Chain
from slidehook.running.dependency_cache import DependencyCache
from slidehook.running.fetched_slide import FetchedSlide
from slidehook.settings import Settings
from slidehook.systems import OriginTicket
from tests.e2e.running import is_alive, wait_for
from tests.packages import install

# Ground is what Middle rests on, and Middle what Top rests on. What a slide's id names, it does beside.
APPS = """
import os, signal, subprocess, sys, threading
from pydantic import BaseModel
from slidehook import App, AppError, MultiArea, PixelPoint, Result

class GroundParams(BaseModel):
    depth: int = 1

class Ground(App):
    id = "ground"
    name = "Ground"
    params: GroundParams = GroundParams()

    def analyze(self, slide, progress):
        progress(50, "digging")
        if slide.info.id == "stony":
            raise AppError("there is no ground")
        if slide.info.id == "quicksand":
            os.kill(os.getpid(), signal.SIGKILL)
        at = PixelPoint(100, 200)
        return Result("ground", {"Depth": self.params.depth}).polygon([at, PixelPoint(9, 9), PixelPoint(0, 9)])

class Middle(App):
    id = "middle"
    name = "Middle"
    depends_on = "ground"

    def analyze(self, slide, progress):
        progress(50, "building")
        return Result(f"middle on {slide.dependency.text}", {"Depth": slide.dependency.properties["Depth"]})

class Top(App):
    id = "top"
    name = "Top"
    input = MultiArea()
    depends_on = "middle"

    def analyze(self, slide, progress):
        progress(50, "roofing")
        return Result(f"top on {slide.dependency.text}, {len(slide.regions)} regions")

class Corner(App):
    id = "corner"
    name = "Corner"
    depends_on = "ground"

    def analyze(self, slide, progress):
        at = slide.dependency.shapes[0].points[0]
        return Result(f"corner at {at.x:g}, {at.y:g}, own regions {len(slide.regions)}, files {slide.path}")

class Hungry(App):
    id = "hungry"
    name = "Hungry"
    needs = ()
    memory_gb = 0.5
    kept = []

    def setup(self):
        self.set_up = os.getpid()

    def analyze(self, slide, progress):
        if slide.info.id == "hoards":
            self.kept.append(bytearray(300 * 2**20))
            if len(self.kept) > 1:  # until it is noticed: nothing else ends this
                threading.Event().wait()
        if slide.info.id == "devours":
            held = []
            while True:
                held.append(bytearray(50 * 2**20))
        if slide.info.id == "sends others":
            program = "held = bytearray(800 * 2**20); import threading; threading.Event().wait()"
            process = subprocess.Popen([sys.executable, "-S", "-c", program])
            progress(0, str(process.pid))
            process.wait()
        if slide.info.id == "hangs":
            process = subprocess.Popen([sys.executable, "-S", "-c", "import threading; threading.Event().wait()"])
            progress(0, str(process.pid))
            process.wait()
        return Result(f"fed in {self.set_up}")
"""
INSTALLED = {"ground": "Ground", "middle": "Middle", "top": "Top", "corner": "Corner", "hungry": "Hungry"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = install(tmp_path_factory.mktemp("site-packages"), "chain_apps", APPS, INSTALLED)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


class Children:
    """The process that apps are run in; another one when it has died."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.process: AppProcess | None = None

    def __call__(self) -> AppProcess:
        if self.process is not None and not self.process.alive:
            self.process.kill()
            self.process = None
        if self.process is None:
            self.process = AppProcess(self._settings)
        return self.process


@pytest.fixture(scope="module")
def child(installed: None, settings: Settings) -> Iterator[Children]:
    child = Children(settings)
    yield child
    child().kill()


@pytest.fixture
def registry(installed: None, settings: Settings) -> Registry:
    return load_apps(settings)


class OneToken:
    def secret(self) -> str:
        return "the-token"

    def instead_of(self, refused: str) -> str | None:
        return None


class Site:
    """A worker's part of a site: what was found here before, and what was said on the slide."""

    def __init__(self, folder: Path, settings: Settings, child: Children) -> None:
        self.dependency_cache = DependencyCache(folder / "outputs")
        self.settings = settings
        self.child = child
        self.steps: list[tuple[float, str]] = []

    def chain(self, registry: Registry, job: Job, app_id: str) -> Chain:
        return Chain(
            OriginTicket("dpat", job.address, job.slide_id, app_id),
            job.input,
            since=job.created_at if job.trigger == "import" else 0.0,
            registry=registry,
            secrets=OneToken(),
            dependency_cache=self.dependency_cache,
            settings=self.settings,
            child=self.child,
            progress=lambda percent, text: self.steps.append((percent, text)),
            tick=lambda: None,
        )

    def run(self, registry: Registry, job: Job, app_id: str, slide_id: str = "S-1") -> Result:
        chain = self.chain(registry, job, app_id)
        info = slide(slide_id)
        apps, before = chain.left(info)
        self.steps.clear()
        return chain.run(apps, FetchedSlide(info), before).result

    @property
    def began(self) -> list[str]:
        """The texts of the apps that were begun."""
        return [text for _, text in self.steps if text.endswith("analysing")]


@pytest.fixture
def site(tmp_path: Path, settings: Settings, child: Children) -> Site:
    return Site(tmp_path, settings, child)


def slide(slide_id: str = "S-1") -> ImageInfo:
    return ImageInfo(id=slide_id, image_size=Size(width=2000, height=1000))


def test_what_an_app_rests_on_is_run_first_and_handed_over_in_pixels(
    site: Site, registry: Registry, job: Job
) -> None:
    result = site.run(registry, job, "corner")
    assert result.text == "corner at 100, 200, own regions 0, files None"
    assert site.began == ["Ground: analysing", "analysing"]


def test_a_chain_is_run_in_order_and_its_progress_only_grows(site: Site, registry: Registry, job: Job) -> None:
    drawn = MultiAreaInput.model_validate(
        {
            "type": "multiArea",
            "content": {"polygons": [{"points": [{"x": x, "y": y} for x, y in ((0, 0), (1, 0), (0, 0.5))]}]},
        }
    )
    result = site.run(registry, job.model_copy(update={"input": drawn}), "top")
    assert result.text == "top on middle on ground, 1 regions"
    percents = [percent for percent, _ in site.steps]
    assert percents == sorted(percents)
    assert [(round(percent), text) for percent, text in site.steps if "ing" in text] == [
        (0, "Ground: analysing"), (17, "Ground: digging"), (33, "Middle: analysing"), (50, "Middle: building"),
        (67, "analysing"), (83, "roofing"),
    ]  # fmt: skip


def test_what_was_found_before_is_not_looked_for_again(site: Site, registry: Registry, job: Job) -> None:
    site.run(registry, job, "middle")
    assert site.run(registry, job, "corner").text.startswith("corner at 100, 200")
    assert site.began == ["analysing"]
    assert site.run(registry, job, "top").text == "top on middle on ground, 0 regions"
    assert site.began == ["analysing"]


def test_an_app_that_is_run_for_itself_leaves_its_result_to_those_that_rest_on_it(
    site: Site, registry: Registry, job: Job
) -> None:
    site.run(registry, job, "ground")
    site.run(registry, job, "corner")
    assert site.began == ["analysing"]
    # And one that is asked for is run, whatever was found before.
    site.run(registry, job, "ground")
    assert site.began == ["analysing"]


def test_another_slide_another_dpat_and_another_size_are_looked_at_anew(
    site: Site, registry: Registry, job: Job
) -> None:
    site.run(registry, job, "corner")
    site.run(registry, job, "corner", "S-2")
    assert len(site.began) == 2
    site.run(registry, job.model_copy(update={"address": "http://127.0.0.1:1/other"}), "corner")
    assert len(site.began) == 2
    larger = slide().model_copy(update={"image_size": Size(width=4000, height=1000)})
    assert len(site.chain(registry, job, "corner").left(larger)[0]) == 2


@pytest.mark.parametrize("change", ["version", "params"])
def test_a_new_version_of_any_app_below_is_run_again_and_so_is_what_rests_on_it(
    site: Site, registry: Registry, job: Job, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.run(registry, job, "top")
    ground = registry["ground"]
    if change == "version":
        monkeypatch.setattr(ground, "version", "1.1")
    else:
        monkeypatch.setattr(ground, "params", ground.params.model_copy(update={"depth": 2}))
    assert [app.id for app in site.chain(registry, job, "top").left(slide())[0]] == ["ground", "middle", "top"]


def test_what_was_found_before_an_import_may_be_of_other_files(site: Site, registry: Registry, job: Job) -> None:
    site.run(registry, job, "ground")
    imported = job.model_copy(update={"trigger": "import", "created_at": 4e9})
    assert [app.id for app in site.chain(registry, imported, "corner").left(slide())[0]] == ["ground", "corner"]
    imported = imported.model_copy(update={"created_at": 1e9})
    assert [app.id for app in site.chain(registry, imported, "corner").left(slide())[0]] == ["corner"]


def test_an_app_that_could_not_be_run_first_is_named(site: Site, registry: Registry, job: Job) -> None:
    with pytest.raises(AppError, match=r"^Ground, which has to be run first: there is no ground$") as caught:
        site.run(registry, job, "top", "stony")
    assert not caught.value.retryable
    with pytest.raises(AppCrashed, match=r"^Ground, which has to be run first: the analysis process died") as caught:
        site.run(registry, job, "top", "quicksand")
    assert caught.value.retryable
    assert site.run(registry, job, "top").text == "top on middle on ground, 0 regions"


# --- memory, and other limits of the child


def test_an_app_that_takes_too_much_memory_fails_and_the_next_slide_finds_a_new_child(
    site: Site, registry: Registry, job: Job
) -> None:
    with pytest.raises(AppOutOfMemory, match=r"^the analysis needed more than 0\.5 GB of memory$") as caught:
        site.run(registry, job, "hungry", "devours")
    assert not caught.value.retryable
    again = site.run(registry, job, "hungry")
    assert again.text == f"fed in {site.child().pid}"


def test_what_an_app_has_started_counts_as_its_own_and_ends_with_it(site: Site, registry: Registry, job: Job) -> None:
    with pytest.raises(AppOutOfMemory):
        site.run(registry, job, "hungry", "sends others")
    assert_others_are_gone(site)


def test_what_earlier_slides_have_left_in_memory_is_not_held_against_the_next(
    site: Site, registry: Registry, job: Job
) -> None:
    first = site.run(registry, job, "hungry", "hoards")
    second = site.run(registry, job, "hungry", "hoards")
    assert first.text != second.text == f"fed in {site.child().pid}"


def test_what_a_stopped_app_has_started_ends_with_it(
    site: Site, registry: Registry, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.run(registry, job, "hungry")  # the child is up, so the time is the app's own
    monkeypatch.setattr(type(registry["hungry"]), "timeout", 2)
    with pytest.raises(AppError, match="longer than"):
        site.run(registry, job, "hungry", "hangs")
    assert_others_are_gone(site)


def assert_others_are_gone(site: Site) -> None:
    pids = {int(text) for _, text in site.steps if text.isdigit()}
    assert pids
    wait_for(lambda: not any(is_alive(pid) for pid in pids), "what the app started is gone")


def test_a_new_child_after_a_crash_sets_up_again(site: Site, registry: Registry, job: Job) -> None:
    before = site.run(registry, job, "hungry").text
    assert site.run(registry, job, "hungry").text == before
    process = site.child()
    assert process.pid is not None
    process._process.kill()
    process._process.join()
    after = site.run(registry, job, "hungry").text
    assert after == f"fed in {site.child().pid}" != before
