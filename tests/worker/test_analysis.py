from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from slidehook.errors import AppCrashed, AppError, AppTimeout, SlideUnreadable
from slidehook.geometry import Frame
from slidehook.iaapi.models import ImageInfo
from slidehook.settings import Settings
from worker.analysis import AppProcess, AppTrace, Found, Task

# An installed package with one app, which does what the slide's id says.
APPS = """
import os, signal, sys, threading, time
from slidehook import App, Result
from slidehook.errors import AppError

class Odd(App):
    id = "odd"
    name = "Odd"
    set_up = 0

    def setup(self):
        self.set_up += 1

    def analyze(self, slide, progress):
        return getattr(self, slide.info.id.replace("-", "_"))(slide, progress)

    def count(self, slide, progress):
        return Result(f"set up {self.set_up} times in {os.getpid()}")

    def look(self, slide, progress):
        return Result("seen", {"Width": slide.thumbnail().width})

    def refuse(self, slide, progress):
        raise AppError("no tissue on this slide")

    def fail(self, slide, progress):
        return 1 / 0

    def none(self, slide, progress):
        return None

    def report(self, slide, progress):
        progress(-5, "low")
        progress(250)
        progress(float("nan"), 17)
        return Result("reported")

    def chatter(self, slide, progress):
        while True:
            progress(1, "still")

    def hang(self, slide, progress):
        progress(1, str(os.getpid()))
        threading.Event().wait()

    def die(self, slide, progress):
        os.kill(os.getpid(), signal.SIGKILL)

    def leave(self, slide, progress):
        sys.exit(3)

    def hang_up(self, slide, progress):
        os.closerange(3, 64)
        threading.Event().wait()
"""
FOREVER_S = 60.0


def unheard(percent: float, text: str) -> None:
    """Progress that the test does not look at."""


def no_tick() -> None:
    """Nothing is due."""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Install the package above for the children that are started meanwhile: they inherit the search path."""
    folder = tmp_path_factory.mktemp("site-packages")
    (folder / "odd_apps.py").write_text(APPS)
    about = folder / "odd_apps-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-apps\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[slidehook.apps]\nodd = odd_apps:Odd\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


@pytest.fixture(scope="module")
def lasting(installed: None, settings: Settings) -> Iterator[AppProcess]:
    """A child that the tests share; none of them may cost its life."""
    process = AppProcess(settings)
    yield process
    assert process.alive
    process.kill()


@pytest.fixture
def process(installed: None, settings: Settings) -> Iterator[AppProcess]:
    """A child that the test may kill."""
    process = AppProcess(settings)
    yield process
    process.kill()


@pytest.fixture
def tiff(sample_slides: Path) -> Path:
    return sample_slides / "immuno.tiff"


def ask(process: AppProcess, tiff: Path, deed: str, app_id: str = "odd", *, timeout_s: float = FOREVER_S) -> Found:
    task = Task(app_id, tiff, ImageInfo(id=deed), None)
    return process.analyse(task, timeout_s=timeout_s, progress=unheard, tick=no_tick)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_demo_draws_a_square_on_a_real_slide(lasting: AppProcess, tiff: Path) -> None:
    steps: list[tuple[float, str]] = []
    task = Task("wholeslide", tiff, ImageInfo(id="immuno"), None)
    found = lasting.analyse(
        task, timeout_s=FOREVER_S, progress=lambda percent, text: steps.append((percent, text)), tick=no_tick
    )
    assert found.frame == Frame(6144, 4608)
    assert found.result.text == "ANSWER: 42"
    assert found.result.properties == {"Answer": 42, "Width (px)": 6144, "Height (px)": 4608}
    assert (found.result.shapes[0].points[0].x, found.result.shapes[0].points[0].y) == (2048, 1536)
    assert [percent for percent, _ in steps] == [60, 80, 100]


def test_what_an_app_loaded_stays_loaded_for_the_next_slide(lasting: AppProcess, tiff: Path) -> None:
    first, second = ask(lasting, tiff, "count"), ask(lasting, tiff, "count")
    assert first.result.text == second.result.text == f"set up 1 times in {lasting.pid}"


def test_an_app_sees_the_overview(lasting: AppProcess, tiff: Path) -> None:
    assert ask(lasting, tiff, "look").result.properties == {"Width": 24}


def test_progress_is_clipped_and_never_without_words(lasting: AppProcess, tiff: Path) -> None:
    steps: list[tuple[float, str]] = []
    task = Task("odd", tiff, ImageInfo(id="report"), None)
    lasting.analyse(task, timeout_s=FOREVER_S, progress=lambda *step: steps.append(step), tick=no_tick)
    assert [text for _, text in steps] == ["low", "analysing", "17"]
    assert [percent for percent, _ in steps[:2]] == [0, 100]
    assert 0 <= steps[2][0] <= 100


def test_an_apps_own_sentence_comes_through_as_it_is(lasting: AppProcess, tiff: Path) -> None:
    with pytest.raises(AppError, match=r"^no tissue on this slide$") as caught:
        ask(lasting, tiff, "refuse")
    assert not isinstance(caught.value, AppTrace)


@pytest.mark.parametrize(
    ("deed", "reason"),
    [("fail", "ZeroDivisionError: "), ("leave", "SystemExit: 3"), ("none", "gave NoneType, not a Result")],
)
def test_an_apps_fault_is_one_sentence_and_a_trace_for_the_log(
    lasting: AppProcess, tiff: Path, deed: str, reason: str
) -> None:
    with pytest.raises(AppTrace, match=f"the app has a fault: .*{reason}") as caught:
        ask(lasting, tiff, deed)
    assert "Traceback" in caught.value.trace
    assert "worker/analysis.py" in caught.value.trace
    assert ask(lasting, tiff, "count").result.text


def test_a_slide_that_can_not_be_read_is_not_the_apps_fault(lasting: AppProcess, tmp_path: Path) -> None:
    (tmp_path / "x.svs").write_bytes(b"no slide")
    with pytest.raises(SlideUnreadable, match=r"x\.svs"):
        ask(lasting, tmp_path / "x.svs", "count", "wholeslide")


def test_an_app_that_is_not_installed_is_said_to_be_missing(lasting: AppProcess, tiff: Path) -> None:
    with pytest.raises(AppError, match="no-such-app does not load on this worker"):
        ask(lasting, tiff, "count", "no-such-app")


@pytest.mark.parametrize("deed", ["hang", "chatter"])
def test_an_app_that_takes_too_long_is_killed_also_when_it_reports_on_and_on(
    process: AppProcess, tiff: Path, deed: str
) -> None:
    assert ask(process, tiff, "count")  # the child is up, so the time is the app's own
    pid = process.pid
    with pytest.raises(AppTimeout, match=r"longer than 0\.3 s"):
        ask(process, tiff, deed, timeout_s=0.3)
    assert pid is not None
    assert is_gone(pid)


@pytest.mark.parametrize(("deed", "ending"), [("die", "killed by SIGKILL"), ("hang-up", "killed by SIGKILL")])
def test_a_child_that_goes_is_a_crash_that_may_be_tried_again(
    process: AppProcess, tiff: Path, deed: str, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.analysis.STOP_S", 0.3)
    pid = process.pid
    with pytest.raises(AppCrashed, match=ending) as caught:
        ask(process, tiff, deed)
    assert caught.value.retryable
    assert pid is not None
    assert is_gone(pid)


def test_a_child_killed_from_outside_while_it_computes_is_a_crash(process: AppProcess, tiff: Path) -> None:
    task = Task("odd", tiff, ImageInfo(id="hang"), None)

    def kill(_: float, pid: str) -> None:
        os.kill(int(pid), signal.SIGKILL)

    with pytest.raises(AppCrashed, match="SIGKILL"):
        process.analyse(task, timeout_s=FOREVER_S, progress=kill, tick=no_tick)


def test_a_child_that_died_while_idle_is_a_crash(process: AppProcess, tiff: Path) -> None:
    assert ask(process, tiff, "count")
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(AppCrashed):
        ask(process, tiff, "count")


def test_the_worker_can_stop_an_analysis_and_the_child_is_gone(process: AppProcess, tiff: Path) -> None:
    class Stop(Exception):
        """The worker is told to leave."""

    computing = threading.Event()

    def tick() -> None:
        if computing.is_set():
            raise Stop

    task = Task("odd", tiff, ImageInfo(id="hang"), None)
    pid = process.pid
    with pytest.raises(Stop):
        process.analyse(task, timeout_s=FOREVER_S, progress=lambda *_: computing.set(), tick=tick)
    assert pid is not None
    assert is_gone(pid)
