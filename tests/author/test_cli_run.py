from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import tifffile
from click.testing import CliRunner, Result
from PIL import Image

import slidehook
from slidehook.cli.main import main
from slidehook.dpat.iaapi.models import ResultRecord
from slidehook.folder import overlay
from slidehook.registry.params import params_path
from slidehook.running.author_trace import is_ours
from slidehook.version import SOFTWARE_VERSION
from tests.author import tried_apps
from tests.e2e.running import is_alive

WIDTH, HEIGHT = 1200, 900
FILES = {"result.json", "overlay.png", "result.geojson"}
SQUARE = [[100, 100], [300, 100], [300, 200], [100, 200], [100, 100]]


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An author's folder, with a slide and the apps that are to be tried."""
    folder = tmp_path / "desk"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SLIDEHOOK_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SLIDEHOOK_DEMO_SECONDS", "0")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "path_hooks", [*sys.path_hooks])
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    grey = np.full((HEIGHT, WIDTH, 3), 200, np.uint8)
    tifffile.imwrite(
        "grey.tiff",
        grey,
        tile=(256, 256),
        photometric="rgb",
        resolution=(40_000, 40_000),
        resolutionunit="CENTIMETER",
    )
    shutil.copy(tried_apps.__file__, "mine.py")
    return folder


def run(app: str, *options: str, slide: str = "grey.tiff") -> Result:
    return CliRunner().invoke(main, ["run", app, slide, *options])


def done(app: str, *options: str) -> dict[str, Any]:
    """Run an app of the author's that must come to its end; returns result.json."""
    found = run(f"mine.py:{app}", *options, "--out", "out")
    assert found.exit_code == 0, found.output
    content: dict[str, Any] = json.loads(Path("out/result.json").read_text())
    return content


def refused(app: str, *options: str, slide: str = "grey.tiff") -> str:
    """Run an app that can't be run; returns the one sentence that says why."""
    before = set(Path().glob("*/*"))
    found = run(app, *options, slide=slide)
    assert (found.exit_code, found.stdout) == (1, "")
    (sentence,) = [line for line in found.stderr.splitlines() if line.startswith("Error: ")]
    assert "Traceback" not in found.stderr
    assert set(Path().glob("*/*")) == before
    return sentence


def region(*polygons: Any, name: str | None = None) -> str:
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"classification": {"name": name}} if name else {},
        }
        for ring in polygons
    ]
    Path("region.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return "--region=region.geojson"


def test_it_leaves_what_dpat_would_get_a_picture_and_geojson() -> None:
    found = run("mine.py:Square")
    assert found.exit_code == 0, found.output
    folder = Path("grey-square")
    assert {path.name for path in folder.iterdir()} == FILES
    record = ResultRecord.model_validate_json((folder / "result.json").read_text())
    assert (record.slide_id, record.display_result) == ("grey", "[a square]")
    assert record.application_version == "unpackaged"
    assert re.fullmatch("[0-9a-f]{12}", str(record.display_properties["App fingerprint"]))
    with Image.open(folder / "overlay.png") as picture:
        assert picture.size == (WIDTH, HEIGHT)
        assert picture.getpixel((WIDTH // 2, HEIGHT // 4)) == (0, 255, 0)
        assert picture.getpixel((WIDTH // 4, HEIGHT // 4)) == (200, 200, 200)
    (shape,) = json.loads((folder / "result.geojson").read_text())["features"]
    assert shape["geometry"]["coordinates"][0][2] == [WIDTH / 2, HEIGHT / 2]
    assert shape["properties"]["classification"] == {"name": "Square", "color": [0, 255, 0]}


def test_it_prints_a_summary_and_keeps_the_progress_apart() -> None:
    found = run("mine.py:Square")
    assert found.stdout.splitlines()[0] == "[a square]"
    rows = {" ".join(line.split()) for line in found.stdout.splitlines()}
    assert {"Pixels 65536", "Analysed area (mm²) 0.067", "Pixel size (µm) 0.25", "Tiles read 1"} <= rows
    assert "grey-square/overlay.png" in rows
    assert "square" in found.stderr
    assert "100%" in found.stderr
    assert "%" not in found.stdout


def test_an_installed_app_is_called_by_its_id() -> None:
    found = run("wholeslide", "--out", "deep/down")
    assert found.exit_code == 0, found.output
    assert found.stdout.startswith("ANSWER: 42\n")
    assert {path.name for path in Path("deep/down").iterdir()} == FILES


def test_a_module_of_the_authors_folder_is_called_by_its_name() -> None:
    shutil.copy("mine.py", "by_its_name.py")
    assert run("by_its_name:Square").exit_code == 0


def test_a_package_is_called_by_its_init() -> None:
    Path("src/packaged").mkdir(parents=True)
    shutil.copy("mine.py", "src/packaged/apps.py")
    Path("src/packaged/__init__.py").write_text("from packaged.apps import Square\n")
    found = run("src/packaged/__init__.py:Square")
    assert found.exit_code == 0, found.output


def test_a_run_replaces_the_last_ones_files() -> None:
    assert done("Square")["displayProperties"]["Pixels"] == 65536
    assert done("Many")["displayResult"] == "many"
    assert {path.name for path in Path("out").iterdir()} == FILES


def test_parameters_come_from_the_sites_file_and_then_from_the_command() -> None:
    path = params_path(Path.cwd().parent / "data", "square")
    path.parent.mkdir(parents=True)
    path.write_text('part = 0.25\nwords = "a small one"\n')
    found = done("Square", "--param", "part=0.75")
    assert found["displayResult"] == "[a small one]"
    corners = found["data"]["result"]["content"][0]["polygons"][0]["points"]
    assert corners[2]["x"] == 0.75
    assert done("Square", "--param", "words=none")["displayResult"] == "[none]"
    assert "--param: part: input should be a valid number" in refused("mine.py:Square", "--param", "part=x")
    assert "--param: parts is none of the app's parameters (part, words)" in refused(
        "mine.py:Square", "--param", "parts=1"
    )


def test_too_many_shapes_are_all_in_the_geojson_and_the_largest_in_the_record() -> None:
    found = done("Many")
    assert found["displayProperties"]["Shapes shown"] == "3 of 10 (largest)"
    assert len(found["data"]["result"]["content"][0]["polygons"]) == 3
    assert len(json.loads(Path("out/result.geojson").read_text())["features"]) == 10


def test_a_region_is_what_the_user_would_draw() -> None:
    assert done("Tagged", region(SQUARE), "--tag=stroma")["displayResult"] == "stroma: 20000"
    assert done("Tagged", region(SQUARE, name="tumour"))["displayResult"] == "tumour: 20000"
    assert done("Tagged", region(SQUARE, name="tumour"), "--tag=stroma")["displayResult"] == "stroma: 20000"
    beyond = [[1100, 800], [2000, 800], [2000, 2000], [1100, 2000]]
    assert done("Areas", region(SQUARE, beyond))["displayResult"] == "20000, 10000"
    with Image.open("out/overlay.png") as picture:
        assert picture.getpixel((200, 100)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("app", "options", "reason"),
    [
        ("Tagged", [], "the app tagged needs a region: --region polygon.geojson"),
        ("Areas", [], "the app areas needs one or more regions: --region polygon.geojson"),
        ("Square", ["region"], "the app square takes the whole slide"),
        ("Square", ["--tag=x"], "the app square takes the whole slide"),
        ("Areas", ["region", "--tag=x"], "the app areas has no tags"),
        ("Tagged", ["region"], "no tag was given: --tag takes tumour or stroma"),
        ("Tagged", ["region", "--tag=x"], "there is no tag 'x': --tag takes tumour or stroma"),
        ("Tagged", ["two"], "the app tagged takes one region, not 2"),
        ("Areas", ["outside"], "lies outside the slide"),
        ("Areas", ["crossed"], "crosses itself"),
        ("Areas", ["--region=mine.py"], "mine.py is no JSON"),
        ("Areas", ["--region=gone"], "gone can't be read: No such file"),
    ],
)
def test_a_region_that_the_app_can_not_take_is_refused(app: str, options: list[str], reason: str) -> None:
    rings: dict[str, list[Any]] = {
        "region": [SQUARE],
        "two": [SQUARE, SQUARE],
        "outside": [[[5000, 0], [6000, 0], [6000, 10]]],
        "crossed": [[[0, 0], [100, 100], [100, 0], [0, 100]]],
    }
    given = [region(*rings[each]) if each in rings else each for each in options]
    assert reason in refused(f"mine.py:{app}", *given)


def test_the_app_that_another_rests_on_is_run_first() -> None:
    found = run("mine.py:OnDemo", "--out", "out")
    assert found.stdout.startswith("before: ANSWER: 42\n")
    assert "wholeslide" in found.stderr
    assert "the app on-nothing: depends on not-there, which is not installed" in refused("mine.py:OnNothing")


@pytest.mark.parametrize(
    ("app", "reason", "shown"),
    [
        ("Faulty", "the app faulty has a fault: ZeroDivisionError: division by zero", "return Result(str(1 / by))"),
        ("Unready", "the app unready has a fault: SystemExit: no model", 'sys.exit("no model")'),
        ("Wrong", "the app wrong has a fault: TypeError: analyze gave str, not a Result", "TypeError"),
    ],
)
def test_an_apps_fault_shows_its_traceback_from_the_authors_code_on(app: str, reason: str, shown: str) -> None:
    found = run(f"mine.py:{app}")
    assert (found.exit_code, found.stdout) == (1, "")
    assert f"Error: {reason}." in found.stderr
    assert shown in found.stderr
    assert "trial.py" not in found.stderr
    assert not Path(f"grey-{app.lower()}").exists()


def test_an_app_that_says_why_it_can_not_is_believed() -> None:
    assert refused("mine.py:Unable") == "Error: there is no tissue on it."


def test_a_module_that_does_not_load_shows_its_traceback() -> None:
    Path("broken.py").write_text("import no_such_module_at_all\n")
    found = run("broken.py:App")
    assert found.exit_code == 1
    assert (
        "broken.py:App does not load: ModuleNotFoundError: No module named 'no_such_module_at_all'." in found.stderr
    )
    assert "import no_such_module_at_all\n" in found.stderr
    assert "appsource.py" not in found.stderr


@pytest.mark.parametrize(
    ("app", "reason"),
    [
        ("nothing", "there is no app 'nothing'; installed are "),
        ("mine.py", "say which class of mine.py is the app: mine.py:MyApp"),
        ("gone.py:App", "there is no file gone.py"),
        ("mine.py:NOT_AN_APP", "mine.py has no app NOT_AN_APP; it has Square, Many, Tagged"),
        ("mine.py:Gone", "mine.py has no app Gone; it has"),
        ("json:JSONDecoder", "json has no app JSONDecoder."),
    ],
)
def test_what_is_no_app_is_refused(app: str, reason: str) -> None:
    assert reason in refused(app)


def test_an_app_that_lacks_something_says_what_unless_a_parameter_gives_it() -> None:
    assert refused("mine.py:Lacking") == "Error: the app lacking can't be run yet: say the words."
    assert done("Lacking", "--param", "words=please")["displayResult"] == "[please]"


def test_an_installed_app_that_does_not_load_says_why() -> None:
    path = params_path(Path.cwd().parent / "data", "wholeslide")
    path.parent.mkdir(parents=True)
    path.write_text("seconds = 5\n")
    sentence = refused("wholeslide")
    assert "the app wholeslide does not load: " in sentence
    assert "seconds is none of the app's parameters (it has none)" in sentence


def test_a_slide_that_can_not_be_read_is_refused() -> None:
    assert "there is no slide at gone.svs" in refused("mine.py:Square", slide="gone.svs")
    assert "OpenSlide cannot read the slide's file: Unsupported" in refused("mine.py:Square", slide="mine.py")
    assert "none of the slide's files" in refused("mine.py:Square", slide="..")


def test_a_slide_that_does_not_say_its_pixel_size_needs_to_be_told() -> None:
    tifffile.imwrite("untold.tiff", np.full((300, 300, 3), 200, np.uint8), tile=(256, 256), photometric="rgb")
    assert "the caller states the pixel size: say it with --mpp" in refused("mine.py:Square", slide="untold.tiff")
    found = run("mine.py:Square", "--mpp=0.5", slide="untold.tiff")
    assert found.exit_code == 0, found.output
    assert "Pixel size from the caller" in " ".join(found.stdout.split())


def test_a_resolution_that_no_scanner_makes_counts_as_not_said() -> None:
    tifffile.imwrite(
        "odd.tiff", np.full((300, 300, 3), 200, np.uint8), tile=(256, 256), photometric="rgb",
        resolution=(72, 72), resolutionunit="INCH",
    )  # fmt: skip
    sentence = refused("mine.py:Square", slide="odd.tiff")
    assert "352.778 µm per pixel, which no scanner makes" in sentence
    assert sentence.endswith("say it with --mpp.")
    found = run("mine.py:Square", "--mpp=0.5", slide="odd.tiff")
    assert found.exit_code == 0, found.output
    assert "Pixel size from the caller" in " ".join(found.stdout.split())


def test_a_pixel_size_that_the_file_contradicts_is_refused_and_nobody_else_is_blamed() -> None:
    sentence = refused("mine.py:Square", "--mpp=0.5")
    assert sentence == "Error: the slide's file states 0.25 µm per pixel, but the caller states 0.5."


def test_a_folder_whose_name_begins_as_slidehooks_is_the_authors() -> None:
    package = Path(slidehook.__file__).parent
    assert is_ours(str(package / "folder" / "local_run.py"))
    assert not is_ours(f"{package}_apps/mine.py")


def test_files_that_can_not_be_written_are_told_before_the_analysis() -> None:
    Path("taken").write_text("a file")
    assert "taken/below can't be written" in refused("mine.py:Slow", "--out", "taken/below")
    assert "/proc/self can't be written" in refused("mine.py:Slow", "--out", "/proc/self")  # by root neither


def test_ctrl_c_ends_it_with_one_line_and_no_files() -> None:
    command = [str(Path(sys.executable).parent / "slidehook"), "run", "mine.py:Endless", "grey.tiff"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "stopped; nothing was written" in said
    assert "Traceback" not in said
    assert not Path("grey-endless").exists()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_an_app_that_dies_of_a_signal_is_told_in_a_sentence(number: signal.Signals) -> None:
    Path("dying.py").write_text(
        "import os\nfrom slidehook import App\n\n\nclass Dying(App):\n    id = name = 'dying'\n\n"
        f"    def analyze(self, slide, progress):\n        os.kill(os.getpid(), {number.value})\n"
    )
    command = [str(Path(sys.executable).parent / "slidehook"), "run", "dying.py:Dying", "grey.tiff"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert found.returncode == 128 + number
    *before, last = found.stderr.splitlines()
    assert last.startswith(f"Error: the process in which the app ran was killed by {number.name}: ")
    if number != signal.SIGKILL:
        assert any("dying.py" in line and "in analyze" in line for line in before)  # the stack


def test_a_debugger_has_the_terminal() -> None:
    Path("looked.py").write_text(
        "from slidehook import App, Result\n\n\nclass Looked(App):\n    id = name = 'looked'\n\n"
        "    def analyze(self, slide, progress):\n        found = 'seen'\n        breakpoint()\n"
        "        return Result(found)\n"
    )
    command = [str(Path(sys.executable).parent / "slidehook"), "run", "looked.py:Looked", "grey.tiff"]
    typed = "found = found.upper()\ncontinue\n"
    found = subprocess.run(command, input=typed, capture_output=True, text=True, check=False, timeout=120)
    assert found.returncode == 0, found.stderr
    assert "(Pdb) SEEN\n" in found.stdout


def test_an_app_that_takes_longer_than_it_may_is_stopped_as_in_a_worker() -> None:
    assert "Error: the analysis needed longer than 0.3 s." in run("mine.py:Slow").stderr
    assert "Error: the analysis needed longer than 0.3 s." in run("mine.py:SlowOnDemo").stderr
    assert not list(Path().glob("grey-slow*"))


def test_what_this_process_started_before_outlives_a_stopped_app() -> None:
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as earlier:
        assert "Error: the analysis needed longer than 0.3 s." in run("mine.py:Slow").stderr
        earlier.communicate(b"\n", timeout=120)
    assert earlier.returncode == 0


def test_an_authors_modules_leave_no_compiled_files_beside_them(tmp_path: Path) -> None:
    Path("beside").mkdir()
    Path("beside/__init__.py").write_text("from beside.words import TEXT\n")
    Path("beside/words.py").write_text("TEXT = 'found'\n")
    Path("split.py").write_text(
        "from slidehook import App, Result\n\n\nclass Split(App):\n    id = name = 'split'\n\n"
        "    def analyze(self, slide, progress):\n        from beside import TEXT\n        return Result(TEXT)\n"
    )
    slidehook = str(Path(sys.executable).parent / "slidehook")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for app in ("split.py:Split", "split:Split"):
        command = [slidehook, "run", app, "grey.tiff", "--out", str(tmp_path / "out")]
        said = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=120)
        assert said.returncode == 0, said.stderr
        assert json.loads((tmp_path / "out" / "result.json").read_text())["displayResult"] == "found"
    assert not list(Path().rglob("__pycache__"))
    assert not list(Path().rglob("*.pyc"))


def test_the_sites_timeout_holds_for_an_app_that_says_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDEHOOK_JOB_TIMEOUT", "1s")
    found = run("mine.py:Endless")
    assert (found.exit_code, "Error: the analysis needed longer than 1 s." in found.stderr) == (1, True)


def run_alone(app: str) -> subprocess.CompletedProcess[str]:
    """Run an app in a program of its own, whose output is nobody else's."""
    command = [str(Path(sys.executable).parent / "slidehook"), "run", f"mine.py:{app}", "grey.tiff", "--out", "out"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("app", ["Greedy", "Hidden"])
def test_an_app_that_takes_more_memory_than_it_may_is_stopped_with_what_it_started(app: str) -> None:
    found = run_alone(app)
    assert found.returncode == 1
    assert "Error: the analysis needed more than 0.5 GB of memory." in found.stderr
    assert not is_alive(int(found.stdout))
    assert not Path("out").exists()


def test_an_app_that_goes_on_all_the_same_ends_with_the_program() -> None:
    found = run_alone("Stubborn")
    assert (found.returncode, found.stdout) == (1, "")
    assert "Error: the analysis needed longer than 0.3 s." in found.stderr
    assert not Path("out").exists()


@pytest.mark.parametrize("app", ["Forgiving", "Mistaken"])
def test_an_app_that_catches_its_end_is_stopped_all_the_same(app: str) -> None:
    assert refused(f"mine.py:{app}") == "Error: the analysis needed longer than 0.3 s."


def test_an_author_can_lift_the_limits() -> None:
    assert "needed longer than 0.01 s" in run("mine.py:Hurried").stderr
    assert done("Hurried", "--no-limits")["displayResult"] == "in time"


def test_apps_tells_programs_all_that_an_app_declares() -> None:
    found = CliRunner().invoke(main, ["apps", "--json"])
    (demo,) = [each for each in json.loads(found.stdout)["apps"] if each["id"] == "wholeslide"]
    assert re.fullmatch("[0-9a-f]{12}", demo.pop("fingerprint"))
    assert demo == {
        "id": "wholeslide",
        "name": "Whole slide demo",
        "version": SOFTWARE_VERSION,
        "manufacturer": "slidehook",
        "input": "wholeSlide",
        "route": "/dpat_ia_app_demo/wholeslide",
        "needs": ["files", "label", "thumbnail"],
        "dependsOn": None,
        "priority": 5,
        "timeoutSeconds": None,
        "memoryGb": None,
        "maxPolygons": 2000,
        "maxPoints": 50000,
        "maxPatches": 5000,
        "params": {},
    }


def test_apps_lists_those_that_work_and_names_those_that_do_not() -> None:
    path = params_path(Path.cwd().parent / "data", "wholeslide")
    path.parent.mkdir(parents=True)
    found = CliRunner().invoke(main, ["apps"])
    assert "wholeSlide" in found.stdout
    assert "files, label, thumbnail" in found.stdout
    path.write_text("seconds = 5\n")
    found = CliRunner().invoke(main, ["apps"])
    assert "/dpat_ia_app_demo/wholeslide" not in found.stdout
    assert f"slidehook.apps.wholeslide:WholeSlideDemo does not load: {path}: seconds is none of" in found.stderr


def dies(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def has_no_memory(*_: object) -> tuple[bytes, str]:
    raise MemoryError


def draws_without_memory(*args: Any) -> None:
    """Draw in a process of its own, where this changes nobody else's."""
    vars(overlay)["_overlay"] = has_no_memory
    overlay._draw(*args)


def assert_all_but_the_picture(found: Result, why: str) -> None:
    assert found.exit_code == 0, found.output
    assert {path.name for path in Path("out").iterdir()} == FILES - {"overlay.png"}
    (sentence,) = [line for line in found.stderr.splitlines() if line.startswith("The result is complete")]
    assert sentence == f"The result is complete, but out/overlay.png could not be drawn: {why}."
    assert "out/result.json" in found.stdout
    assert "overlay.png" not in found.stdout


@pytest.mark.parametrize(
    ("ending", "why"),
    [
        (dies, "the process that draws it died (SIGKILL)"),
        (draws_without_memory, "there is not enough memory"),
    ],
)
def test_a_picture_that_fails_costs_nothing_but_the_picture(
    monkeypatch: pytest.MonkeyPatch, ending: Callable[..., None], why: str
) -> None:
    assert done("Square")["displayResult"] == "[a square]"
    monkeypatch.setattr(overlay, "_draw", ending)
    found = run("mine.py:Many", "--out", "out")
    assert_all_but_the_picture(found, why)
    assert json.loads(Path("out/result.json").read_text())["displayResult"] == "many"


def test_a_script_that_does_not_ask_for_its_name_runs_the_app_once_and_gets_the_picture() -> None:
    Path("script.py").write_text("from slidehook.cli.main import main\nprint('started')\nmain()\n")
    command = [sys.executable, "script.py", "run", "mine.py:Square", "grey.tiff", "--out", "out"]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert {path.name for path in Path("out").iterdir()} == FILES
    assert found.stdout.count("started") == 1
    assert "Traceback" not in found.stderr


def test_a_slide_that_is_gone_after_the_analysis_costs_nothing_but_the_picture() -> None:
    Path("alone.py").write_text(
        "from slidehook import App, Result\n"
        "class Alone(App):\n"
        "    id = name = 'alone'\n"
        "    def analyze(self, slide, progress):\n"
        "        slide.open()\n"
        "        slide.path.unlink()\n"
        "        return Result('gone')\n"
    )
    assert_all_but_the_picture(run("alone.py:Alone", "--out", "out"), "there is no slide at grey.tiff")


def test_a_slide_damaged_where_the_app_did_not_look_still_gives_its_result(desk: Path) -> None:
    slide = desk / "damaged.tiff"
    pixels_per_mm = 4000
    pyvips.Image.black(WIDTH, HEIGHT, bands=3).tiffsave(
        str(slide), tile=True, compression="jpeg", xres=pixels_per_mm, yres=pixels_per_mm, resunit="cm"
    )
    with tifffile.TiffFile(slide) as file:
        first = file.pages[0].dataoffsets[0]
    with slide.open("r+b") as content:
        content.seek(first)
        content.write(bytes(64))

    Path("alone.py").write_text(
        "from slidehook import App, Result\n"
        "class Alone(App):\n"
        "    id = name = 'alone'\n"
        "    needs = ('files',)\n"
        "    def analyze(self, slide, progress):\n"
        "        return Result('looked at nothing')\n"
    )

    found = run("alone.py:Alone", "--out", "out", slide=str(slide))

    assert found.exit_code == 0, found.output
    assert "overview can't be read" in found.stderr
    assert {path.name for path in Path("out").iterdir()} == FILES
