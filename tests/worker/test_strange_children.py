"""Children that die, stop or babble in ways that hide it, what they print, and what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from slidehook import Result
from slidehook.errors import AppCrashed, AppTimeout
from slidehook.models import ImageInfo
from slidehook.running.app_process import AppProcess, left_behind
from slidehook.running.child_output import BURST, MOST_CHARACTERS
from slidehook.running.orphans import VARIABLE, Mark, end_left_behind
from slidehook.running.task import Task
from slidehook.settings import Settings
from tests.e2e.running import is_alive, wait_for

# An installed package with one app, which does what the slide's id says.
APPS = """
import os, pickle, signal, struct, subprocess, sys, threading, time
from slidehook import App, Result

print("the package is imported")

def line():
    for number in sorted(int(name) for name in os.listdir("/proc/self/fd")):
        if number < 3:
            continue
        try:
            if os.readlink(f"/proc/self/fd/{number}").startswith("socket:"):
                return number
        except OSError:
            pass

def send(data):
    with open(line(), "wb", buffering=0, closefd=False) as file:
        while data:
            data = data[file.write(data):]

def rest():
    threading.Event().wait()

SLEEPER = [sys.executable, "-S", "-c", "import sys, threading; threading.Event().wait(600)"]

class Strange(App):
    id = "strange"
    name = "Strange"
    needs = ()

    def analyze(self, slide, progress):
        return getattr(self, slide.info.id.replace("-", "_"))(slide, progress)

    def well(self, slide, progress):
        return Result("well")

    def fork_and_die(self, slide, progress):
        if os.fork() == 0:
            rest()
        os.kill(os.getpid(), signal.SIGSEGV)

    def fork_that_babbles_and_die(self, slide, progress):
        if os.fork() == 0:
            while True:
                progress(1, "babble")
                time.sleep(0.12)
        os.kill(os.getpid(), signal.SIGKILL)

    def half(self, slide, progress):
        send(struct.pack("!Q", 1000) + b"half")
        rest()

    def half_and_die(self, slide, progress):
        send(struct.pack("!Q", 1000) + b"half")
        self.fork_and_die(slide, progress)

    def stopped(self, slide, progress):
        os.kill(os.getpid(), signal.SIGSTOP)

    def garbage(self, slide, progress):
        send(b"\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x09" + b"no pickle")
        rest()

    def noise(self, slide, progress):
        send(os.urandom(64) + b"\\xff" * 64)
        rest()

    def foreign(self, slide, progress):
        data = pickle.dumps(subprocess.Popen)
        send(struct.pack("!Q", len(data)) + data)
        rest()

    def enormous(self, slide, progress):
        send(struct.pack("!Q", 10**12))
        rest()

    def deaf(self, slide, progress):
        rest()

    def say(self, slide, progress):
        print("of", "the app")
        print("\\033[31mred\\033[0m and \\a bell", file=sys.stderr)
        print("10 %\\r20 %\\r30 %")
        os.write(1, b"\\xff not UTF-8\\n")
        subprocess.run(["sh", "-c", "echo of a program; printf 'its last word'"])
        print(" and no line break", end="")
        return Result("said")

    def say_and_die(self, slide, progress):
        print("my last words")
        os.kill(os.getpid(), signal.SIGKILL)

    def say_and_hang(self, slide, progress):
        print("soon to be read")
        rest()

    def say_too_much(self, slide, progress):
        print("x" * 1_000_000)
        for number in range(200_000):
            print("line", number)
        return Result("said")

    def tell_the_token(self, slide, progress):
        print("my token is the-secret-token.")
        return Result("said")

    def leave_a_holder(self, slide, progress):
        subprocess.Popen(SLEEPER, start_new_session=True)
        return Result("left")

    def leave_some(self, slide, progress):
        clean = {"PATH": os.environ["PATH"]}
        starters = [
            "subprocess.Popen({0})",
            "subprocess.Popen({0}, start_new_session=True, stdout=-3, stderr=-3)",
            "subprocess.Popen({0}, start_new_session=True, env={1})",
            "os.fork() or (os.setsid(), os.fork() and os._exit(0), os.execv({0}[0], {0}))",
        ]
        for each in starters:
            code = "import os, subprocess; " + each.format(SLEEPER + ["strange-orphan", self.settings_mark()], clean)
            subprocess.run([sys.executable, "-S", "-c", code], check=True)
        progress(1, "left")
        rest()

    def settings_mark(self):
        return os.environ["STRANGE_MARK"]
"""
FOREVER_S = 120.0
SOON_S = 60.0


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Install the package above for the children that are started meanwhile."""
    folder = tmp_path_factory.mktemp("site-packages")
    (folder / "strange_apps.py").write_text(APPS)
    about = folder / "strange_apps-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: strange-apps\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[slidehook.apps]\nstrange = strange_apps:Strange\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder


@pytest.fixture
def process(installed: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppProcess]:
    """A child that the test may kill."""
    monkeypatch.setattr("slidehook.running.app_process.STOP_S", 0.3)
    process = AppProcess(settings)
    yield process
    process.kill()


def task(deed: str, dependency: Result | None = None) -> Task:
    return Task("strange", None, ImageInfo.model_validate(SLIDE | {"id": deed}), None, dependency=dependency)


SLIDE = {"imageSize": {"width": 2000, "height": 1000}}


def ask(
    process: AppProcess,
    deed: str,
    *,
    timeout_s: float = FOREVER_S,
    progress: Callable[[float, str], None] = lambda *_: None,
    tick: Callable[[], None] = lambda: None,
    dependency: Result | None = None,
) -> str:
    return process.analyse(task(deed, dependency), timeout_s=timeout_s, progress=progress, tick=tick).result.text


# --- its end is noticed


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("fork-and-die", r"^the analysis process died \(killed by SIGSEGV\)$"),
        ("fork-that-babbles-and-die", r"^the analysis process died \(killed by SIGKILL\)$"),
        ("half-and-die", r"^the analysis process died \(killed by SIGSEGV\)$"),
        ("garbage", r"^the analysis process sent what is no message"),
        ("noise", r"^the analysis process sent what is no message"),
        ("foreign", r"subprocess\.Popen is not one of slidehook's classes"),
        ("enormous", r"a message of 1000000000000 bytes"),
    ],
)
def test_a_child_that_is_dead_or_babbles_is_noticed_at_once_whoever_holds_its_line(
    process: AppProcess, deed: str, reason: str
) -> None:
    assert ask(process, "well") == "well"
    began = time.monotonic()
    with pytest.raises(AppCrashed, match=reason) as caught:
        ask(process, deed)
    assert time.monotonic() - began < FOREVER_S / 2
    assert caught.value.retryable
    assert not process.alive


@pytest.mark.parametrize("deed", ["half", "stopped", "deaf"])
def test_a_child_that_stands_still_keeps_its_worker_neither_from_its_duties_nor_from_the_time_limit(
    process: AppProcess, deed: str
) -> None:
    class Leave(Exception):
        """The worker is told to leave."""

    assert ask(process, "well") == "well"
    ticks: list[None] = []
    with pytest.raises(AppTimeout):
        ask(process, deed, timeout_s=1, tick=lambda: ticks.append(None))
    assert ticks
    assert not process.alive


def test_a_child_that_reads_nothing_does_not_keep_a_worker_that_has_much_to_send(
    process: AppProcess,
) -> None:
    assert ask(process, "well") == "well"
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    large = Result("x", {f"row {number}": "y" * 400 for number in range(20_000)})
    with pytest.raises(AppTimeout):
        ask(process, "well", timeout_s=1, dependency=large)


# --- what it prints


def test_what_an_app_prints_is_logged_line_by_line_with_the_jobs_id(process: AppProcess) -> None:
    with structlog.testing.capture_logs() as logs, structlog.contextvars.bound_contextvars(job="j-17"):
        assert ask(process, "say") == "said"
    said = [each["event"] for each in logs if each.get("job") == "j-17" and each.get("app") == "strange"]
    assert "| of the app" in said
    assert "| red and \\x07 bell" in said
    assert "| 30 %" in said
    assert "| \ufffd not UTF-8" in said
    assert "| of a program" in said
    assert "| its last word and no line break" in said


def test_an_apps_last_words_are_logged_when_it_dies(process: AppProcess) -> None:
    with structlog.testing.capture_logs() as logs, pytest.raises(AppCrashed):
        ask(process, "say-and-die")
    assert "| my last words" in [each["event"] for each in logs]


def test_a_line_is_logged_while_the_app_goes_on(process: AppProcess) -> None:
    class Seen(Exception):
        """The line is there."""

    def look() -> None:
        if any(each["event"] == "| soon to be read" for each in logs):
            raise Seen

    with structlog.testing.capture_logs() as logs, pytest.raises(Seen):
        ask(process, "say-and-hang", tick=look)


def test_an_app_that_prints_without_end_fills_no_log(process: AppProcess) -> None:
    with structlog.testing.capture_logs() as logs:
        assert ask(process, "say-too-much") == "said"
    said = [each["event"] for each in logs if each["event"].startswith("| ")]
    assert len(said) < BURST + 20 * FOREVER_S
    assert max(map(len, said)) <= MOST_CHARACTERS + 10
    left_out = sum(each["lines"] for each in logs if "prints too much" in each["event"])
    assert len(said) + left_out >= 200_000


def test_a_token_that_an_app_prints_is_not_logged(process: AppProcess) -> None:
    with structlog.testing.capture_logs() as logs:
        tokened = Task("strange", None, task("tell-the-token").info, None, secret="the-secret-token")
        process.analyse(tokened, timeout_s=FOREVER_S, progress=lambda *_: None, tick=lambda: None)
    assert "| my token is …." in [each["event"] for each in logs]


def test_who_holds_what_an_app_prints_into_keeps_nobody_waiting(process: AppProcess) -> None:
    assert ask(process, "leave-a-holder") == "left"
    killing = threading.Thread(target=process.kill, daemon=True)
    killing.start()
    killing.join(SOON_S)
    assert not killing.is_alive()


# --- what it leaves behind

WORKER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from slidehook.models import ImageInfo
from slidehook.logs import set_up_logging
from slidehook.settings import Settings
from slidehook.running.app_process import AppProcess
from slidehook.running.task import Task

if __name__ == "__main__":
    set_up_logging()
    process = AppProcess(Settings(_env_file=None, data_dir=Path(sys.argv[2])))
    info = ImageInfo.model_validate({"id": "leave-some", "imageSize": {"width": 2000, "height": 1000}})
    process.analyse(
        Task("strange", None, info, None),
        timeout_s=600,
        progress=lambda _, text: print(text, flush=True),
        tick=lambda: None,
    )
"""


def orphans(mark: str) -> list[int]:
    """Return the processes that the app has started and that live."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[-3:-1] == [b"strange-orphan", mark.encode()] and is_alive(int(entry.name)):
            found.append(int(entry.name))
    return found


@pytest.fixture
def worker(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A worker whose app has started four processes, in its own ways, and goes on; and their name."""
    mark = tmp_path.name + str(os.getpid())
    monkeypatch.setenv("STRANGE_MARK", mark)
    script = tmp_path / "little_worker.py"
    script.write_text(WORKER)
    command = [sys.executable, str(script), str(installed), str(tmp_path / "data")]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "left\n"
            # The last of them may be about to become the program by whose name it is found.
            wait_for(lambda: len(orphans(mark)) == 4, "all four have begun")
            yield process, mark
        finally:
            process.kill()
            for pid in orphans(mark):
                os.kill(pid, signal.SIGKILL)


def test_what_a_killed_worker_left_is_ended_by_the_next_and_what_a_living_one_has_is_not(
    worker: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    process, mark = worker
    folder = left_behind(Settings(_env_file=None, data_dir=tmp_path / "data"))
    assert [Mark.read(each.name) is not None for each in folder.iterdir()] == [True]
    end_left_behind(folder)
    assert len(orphans(mark)) == 4

    process.kill()
    process.wait()
    assert len(orphans(mark)) == 4
    end_left_behind(folder)
    wait_for(lambda: not orphans(mark), "all have ended")
    assert list(folder.iterdir()) == []


def test_without_a_note_the_processes_themselves_tell(
    worker: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    process, mark = worker
    process.kill()
    process.wait()
    end_left_behind(tmp_path / "nothing")
    wait_for(lambda: not orphans(mark), "all have ended")


def test_a_mark_does_not_count_for_a_later_process_of_the_same_id_nor_for_another_boot_or_namespace() -> None:
    mine = Mark.new(7)
    assert mine.is_from_here
    assert not mine.is_left_behind
    boot, space, pid, started, *rest = mine.text.split(".")
    later = Mark.read(".".join([boot, space, pid, str(int(started) - 1), *rest]))
    elsewhere = Mark.read(".".join(["0" * 12, space, pid, str(int(started) - 1), *rest]))
    inside = Mark.read(".".join([boot, "1", pid, str(int(started) - 1), *rest]))
    assert later is not None
    assert later.is_left_behind
    for other in (elsewhere, inside):
        assert other is not None
        assert not other.is_left_behind


def test_a_strangers_process_lives_also_with_an_odd_mark(tmp_path: Path) -> None:
    mine = Mark.new(7)
    marks = ["", "nonsense", "a.b.c", mine.text]
    strangers = [
        subprocess.Popen(["sleep", "600"], env={**os.environ, VARIABLE: each}, start_new_session=True)
        for each in marks
    ]
    try:
        (tmp_path / "nonsense").touch()
        (tmp_path / mine.text).touch()
        end_left_behind(tmp_path)
        assert [each.poll() for each in strangers] == [None] * 4
        assert sorted(each.name for each in tmp_path.iterdir()) == sorted(["nonsense", mine.text])
    finally:
        for each in strangers:
            each.kill()
            each.wait()


def test_a_dead_child_is_ended_with_what_it_left_before_another_is_started(
    process: AppProcess,
) -> None:
    assert ask(process, "leave-a-holder") == "left"
    left = [pid for pid in process._marked.find() if pid != process.pid]
    assert left
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not process.alive, "it is dead")
    assert all(map(is_alive, left))
    process.kill()
    wait_for(lambda: not any(map(is_alive, left)), "what it left is gone")
