from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from slidehook import Result
from slidehook.dpat.errors import TokenExpired, UnsupportedByDpat
from slidehook.errors import AppCrashed, AppError, AppTimeout, BadRequest, NotOffered, SlideUnreadable
from slidehook.geometry import Frame
from slidehook.models import ImageInfo, Input, MultiAreaInput, Size, TaggedPolygonInput
from slidehook.results.receipt import RECEIPT_ROWS
from slidehook.running.app_process import AppProcess, AppTrace
from slidehook.running.task import Analysis, Task
from slidehook.settings import Settings
from slidehook.systems import Access, OneSecret, OriginTicket
from tests.e2e.running import is_alive, wait_for
from tests.iaapi.little_dpat import Call, LittleDpat, Reply

# An installed package with one app, which does what the slide's id says.
APPS = """
import multiprocessing, os, signal, subprocess, sys, threading, time
from slidehook import App, PixelPoint, Result, TaggedPolygon
from slidehook.errors import AppError

class Words(str):
    __slots__ = ()

class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no words")

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

    def leave_orphan(self, slide, progress):
        starts = "import subprocess; print(subprocess.Popen(['sleep', '600'], stdout=-3, start_new_session=True).pid)"
        command = [sys.executable, "-S", "-c", starts]
        found = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        progress(1, found.stdout.decode())
        threading.Event().wait()

    def die(self, slide, progress):
        os.kill(os.getpid(), signal.SIGKILL)

    def leave(self, slide, progress):
        sys.exit(3)

    def hang_up(self, slide, progress):
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        threading.Event().wait()

    def not_sendable(self, slide, progress):
        return Result("x", {"how": lambda: 42})

    def hidden(self, slide, progress):
        result = Result(Words("mine"))
        result.model = lambda: 42
        return result

    def enormous(self, slide, progress):
        return Result("x", {"all": "x" * 80_000_000})

    def wordy(self, slide, progress):
        raise AppError("x" * 80_000_000)

    def unspeakable(self, slide, progress):
        raise Unspeakable

    def threads(self, slide, progress):
        def report():
            for step in range(200):
                progress(step, "y" * 2000)
        reporting = [threading.Thread(target=report) for _ in range(8)]
        for each in reporting:
            each.start()
        for each in reporting:
            each.join()
        return Result("all have reported")

    def late(self, slide, progress):
        self.go_on, self.reported = threading.Event(), threading.Event()
        def report():
            self.go_on.wait()
            progress(99, "too late")
            self.reported.set()
        threading.Thread(target=report, daemon=True).start()
        return Result("done before")

    def after_late(self, slide, progress):
        self.go_on.set()
        self.reported.wait()
        return Result("done after")

    def terminate(self, slide, progress):
        os.kill(os.getpid(), signal.SIGTERM)
        forked = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        started = subprocess.Popen(["sleep", "600"])
        forked.start()
        for each in (forked, started):
            each.terminate()
        forked.join(60)
        return Result("ended", {"Forked": forked.exitcode, "Started": started.wait(60)})

    def regions(self, slide, progress):
        return Result(str(slide.tag), {"Area": sum(each.area_px for each in slide.regions)})

    def label(self, slide, progress):
        return Result(str(slide.label() and slide.label().size))

    def frame(self, slide, progress):
        return Result("seen", {"Path": str(slide.path), "Width": slide.frame.width})

    def case(self, slide, progress):
        return Result(", ".join(each.id for each in slide.case()))

class Tagged(Odd):
    id = "tagged"
    route = "/apps/tagged"
    input = TaggedPolygon(tags=["tumour", "stroma"])
"""
FOREVER_S = 200.0


class Stopped(Exception):
    """A test ends an analysis."""


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
    (about / "entry_points.txt").write_text("[slidehook.apps]\nodd = odd_apps:Odd\ntagged = odd_apps:Tagged\n")
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


def ask(process: AppProcess, tiff: Path, deed: str, app_id: str = "odd", *, timeout_s: float = FOREVER_S) -> Analysis:
    task = Task(app_id, tiff, ImageInfo(id=deed), None)
    return process.analyse(task, timeout_s=timeout_s, progress=unheard, tick=no_tick)


def own(result: Result) -> Result:
    """Return a result without the receipt that is added to its table."""
    return replace(
        result, properties={name: row for name, row in result.properties.items() if name not in RECEIPT_ROWS}
    )


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
    assert own(found.result).properties == {"Answer": 42, "Width (px)": 6144, "Height (px)": 4608}
    assert (found.result.shapes[0].points[0].x, found.result.shapes[0].points[0].y) == (2048, 1536)
    assert (steps[0][0], steps[-1][0]) == (20, 100)


def test_what_an_app_loaded_stays_loaded_for_the_next_slide(lasting: AppProcess, tiff: Path) -> None:
    first, second = ask(lasting, tiff, "count"), ask(lasting, tiff, "count")
    assert first.result.text == second.result.text == f"set up 1 times in {lasting.pid}"


def test_an_app_sees_the_overview(lasting: AppProcess, tiff: Path) -> None:
    assert own(ask(lasting, tiff, "look").result).properties == {"Width": 24}


def test_progress_is_clipped_and_never_without_words(lasting: AppProcess, tiff: Path) -> None:
    steps: list[tuple[float, str]] = []
    task = Task("odd", tiff, ImageInfo(id="report"), None)
    lasting.analyse(task, timeout_s=FOREVER_S, progress=lambda *step: steps.append(step), tick=no_tick)
    assert steps[:1] == [(0, "low")]
    assert steps[-1][1] == "17"
    assert 0 <= steps[-1][0] <= 100


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
    assert "slidehook/running/child.py" in caught.value.trace
    assert ask(lasting, tiff, "count").result.text


def test_a_slide_that_can_not_be_read_is_not_the_apps_fault(lasting: AppProcess, tmp_path: Path) -> None:
    (tmp_path / "x.svs").write_bytes(b"no slide")
    with pytest.raises(SlideUnreadable, match=r"^OpenSlide cannot read the slide's file$"):
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


def test_what_an_app_has_started_ends_with_it_also_when_it_is_nobodys_child_any_more(
    process: AppProcess, tiff: Path
) -> None:
    started: list[int] = []

    def stop() -> None:
        if started:
            raise Stopped

    task = Task("odd", tiff, ImageInfo(id="leave-orphan"), None)
    with pytest.raises(Stopped):
        process.analyse(task, timeout_s=FOREVER_S, progress=lambda _, pid: started.append(int(pid)), tick=stop)
    wait_for(lambda: not is_alive(started[0]), "it has ended")


def test_an_app_can_terminate_what_it_started_though_a_leaving_worker_does_not_end_it(
    lasting: AppProcess, tiff: Path
) -> None:
    table = ask(lasting, tiff, "terminate").result.properties
    assert (table["Forked"], table["Started"]) == (-signal.SIGTERM, -signal.SIGTERM)


@pytest.mark.parametrize(("deed", "ending"), [("die", "killed by SIGKILL"), ("hang-up", "closed its line")])
def test_a_child_that_goes_is_a_crash_that_may_be_tried_again(
    process: AppProcess, tiff: Path, deed: str, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slidehook.running.app_process.STOP_S", 0.3)
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


def test_a_result_of_an_authors_own_classes_comes_as_one_of_ours(lasting: AppProcess, tiff: Path) -> None:
    found = own(ask(lasting, tiff, "hidden").result)
    assert found == Result("mine")
    assert type(found.text) is str


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("not-sendable", r"^the app's result can't be sent to DPAT: properties\.how must be a text or a number"),
        ("enormous", r"^the app's result is too large: 76 MiB, 64 at most$"),
        ("wordy", r"^x{500}…$"),
        ("unspeakable", r"^the app has a fault: Unspeakable"),
    ],
)
def test_what_can_not_be_sent_is_a_clear_failure_and_the_child_lives_on(
    lasting: AppProcess, tiff: Path, deed: str, reason: str
) -> None:
    with pytest.raises(AppError, match=reason):
        ask(lasting, tiff, deed)
    assert ask(lasting, tiff, "count").result.text


def test_an_apps_threads_may_all_report_at_once(lasting: AppProcess, tiff: Path) -> None:
    steps: list[str] = []
    task = Task("odd", tiff, ImageInfo(id="threads"), None)
    lasting.analyse(task, timeout_s=FOREVER_S, progress=lambda _, text: steps.append(text), tick=no_tick)
    assert 1 <= len(steps) <= 8 * 200
    assert {len(text) for text in steps} == {501}


def test_a_thread_that_reports_when_its_analysis_is_over_is_not_heard(lasting: AppProcess, tiff: Path) -> None:
    assert ask(lasting, tiff, "late").result.text == "done before"
    steps: list[str] = []
    task = Task("odd", tiff, ImageInfo(id="after-late"), None)
    found = lasting.analyse(task, timeout_s=FOREVER_S, progress=lambda _, text: steps.append(text), tick=no_tick)
    assert (found.result.text, steps) == ("done after", [])


# --- what an app gets


def drawn(**content: Any) -> Input:
    points = [{"x": x, "y": y} for x, y in ((0.25, 0.25), (0.5, 0.25), (0.5, 0.5))]
    body = {"type": "taggedPolygon", "content": {"polygon": {"points": points}, **content}}
    return TaggedPolygonInput.model_validate(body)


def give(process: AppProcess, task: Task) -> Result:
    return process.analyse(task, timeout_s=FOREVER_S, progress=unheard, tick=no_tick).result


def test_an_app_gets_the_users_region_in_pixels_and_its_tag(lasting: AppProcess, tiff: Path) -> None:
    task = Task("tagged", tiff, ImageInfo(id="regions"), None, drawn=drawn(tagIndex=1))
    assert own(give(lasting, task)) == Result("stroma", {"Area": 1536 * 1536 / 2})
    assert own(ask(lasting, tiff, "regions").result) == Result("None", {"Area": 0})


def test_a_region_that_the_slide_does_not_have_is_no_fault_of_the_apps(lasting: AppProcess, tiff: Path) -> None:
    far = MultiAreaInput.model_validate(
        {"type": "multiArea", "content": {"polygons": [{"points": [{"x": x, "y": 3 + x} for x in (1, 2)] * 2}]}}
    )
    with pytest.raises(BadRequest, match="The region needs"):
        give(lasting, Task("odd", tiff, ImageInfo(id="regions"), None, drawn=far))
    with pytest.raises(BadRequest, match="tagIndex is 2"):
        give(lasting, Task("tagged", tiff, ImageInfo(id="regions"), None, drawn=drawn(tagIndex=2)))


def test_an_app_sees_the_label_where_there_is_one(lasting: AppProcess, tiff: Path, tmp_path: Path) -> None:
    Image.new("L", (7, 5)).save(tmp_path / "label.jpg")
    assert give(lasting, Task("odd", tiff, ImageInfo(id="label"), None, tmp_path / "label.jpg")).text == "(7, 5)"
    assert ask(lasting, tiff, "label").result.text == "None"


def test_an_app_that_needs_no_files_gets_the_extent_from_dpat(lasting: AppProcess) -> None:
    info = ImageInfo(id="frame", image_size=Size(width=2000, height=1000))
    task = Task("odd", None, info, None)
    assert own(give(lasting, task)) == Result("seen", {"Path": "None", "Width": 2000})
    assert lasting.analyse(task, timeout_s=FOREVER_S, progress=unheard, tick=no_tick).frame == Frame(2000, 1000)


def test_an_app_that_opens_a_file_it_did_not_ask_for_is_told_so(lasting: AppProcess) -> None:
    info = ImageInfo(id="look", image_size=Size(width=2000, height=1000))
    with pytest.raises(AppError, match="not among its `needs`"):
        give(lasting, Task("odd", None, info, None))


def test_an_app_looks_at_the_other_slides_of_the_case(lasting: AppProcess, tiff: Path, dpat: LittleDpat) -> None:
    images = [{"id": "case"}, {"id": "S-2"}]
    dpat.answer("GET", "/slides/case/request/images/info", Reply(body=images))
    task = Task(
        "odd",
        tiff,
        ImageInfo(id="case"),
        None,
        origin=OriginTicket("dpat", dpat.url, "case", "an-app"),
        secret="the-token",
    )
    assert give(lasting, task).text == "case, S-2"
    *_, call = dpat.calls  # before it, a server that has not yet named its version is asked for that
    assert call.path.endswith("/slides/case/request/images/info")
    assert call.headers["Authorization"] == "Bearer the-token"
    assert "includePHI" not in call.query


def test_an_app_goes_on_with_another_token_when_dpat_no_longer_takes_the_first(
    lasting: AppProcess, tiff: Path, dpat: LittleDpat
) -> None:
    def case(call: Call) -> Reply:
        return Reply(body=[{"id": "S-2"}]) if call.headers["Authorization"] == "Bearer newer" else Reply(401)

    dpat.answer("GET", "/slides/case/request/images/info", case)
    task = Task(
        "odd",
        tiff,
        ImageInfo(id="case"),
        None,
        origin=OriginTicket("dpat", dpat.url, "case", "an-app"),
        secret="the-token",
    )
    left = {"the-token": "new", "new": "newer"}

    def analyse() -> str:
        return lasting.analyse(
            task, timeout_s=FOREVER_S, progress=unheard, tick=no_tick, another_token=lambda old: left.pop(old, None)
        ).result.text

    assert analyse() == "S-2"
    assert left == {}
    with pytest.raises(TokenExpired):
        analyse()


def test_an_older_dpat_knows_no_cases(lasting: AppProcess, tiff: Path, dpat: LittleDpat) -> None:
    dpat.version = "1.8"
    task = Task(
        "odd",
        tiff,
        ImageInfo(id="case"),
        None,
        origin=OriginTicket("dpat", dpat.url, "case", "an-app"),
        secret="the-token",
    )
    with pytest.raises(UnsupportedByDpat, match=r"1\.9"):
        give(lasting, task)


def test_without_a_dpat_there_is_no_case(lasting: AppProcess, tiff: Path) -> None:
    with pytest.raises(NotOffered, match="there is no DPAT here"):
        ask(lasting, tiff, "case")


def test_a_tasks_token_is_not_in_what_is_printed_of_it(tiff: Path) -> None:
    task = Task(
        "odd",
        tiff,
        ImageInfo(id="x"),
        None,
        origin=OriginTicket("dpat", "http://127.0.0.1:1", "case", "an-app"),
        secret="the-token",
    )
    assert "the-token" not in repr(task)
    assert "the-token" not in repr(Access(OneSecret("the-token")))
