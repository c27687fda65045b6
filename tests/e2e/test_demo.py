"""demo_run.sh: the main job, shown by one command."""

from __future__ import annotations

import shutil
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from slidehook import result
from tests.e2e.running import HOUSE, Program, end_all, free_port, living, wait_for

SLIDES = ("immuno", "immuno-dicom")
BLUE = tuple(bytes.fromhex(result.BLUE.removeprefix("#")))


@pytest.fixture
def out(tmp_path: Path, sample_slides: Path) -> Path:
    """The demo's folder, in which the sample slides are already."""
    shutil.copytree(sample_slides, tmp_path / "out" / "slides")
    return tmp_path / "out"


@pytest.fixture
def mark() -> Iterator[str]:
    mark = uuid.uuid4().hex
    yield mark
    end_all(mark)


def start(out: Path, mark: str, *options: str, **env: str) -> Program:
    command = [str(HOUSE / "demo_run.sh"), "--out", str(out), *options]
    log = out.with_name("demo.log")
    return Program(command, env={"SLIDEHOOK_DEMO_SECONDS": "0", **env}, mark=mark, log=log, cwd=out.parent)


def share_of_blue(picture: Image.Image) -> float:
    """Return the share of the middle third's outline on which the picture is blue."""
    left, top = picture.width / 3, picture.height / 3
    steps = [each / 100 for each in range(101)]
    outline = [(left + left * at, y) for at in steps for y in (top, 2 * top)]
    outline += [(x, top + top * at) for at in steps for x in (left, 2 * left)]
    pixels = [picture.getpixel((round(x), round(y))) for x, y in outline]
    return pixels.count(BLUE) / len(pixels)


def test_once_shows_two_slides_analysed_and_leaves_nothing_running(out: Path, mark: str) -> None:
    demo = start(out, mark, "--once")
    assert demo.ended(60) == 0, demo.text()
    printed = demo.text()
    for slide_id in SLIDES:
        told = printed.partition(f"The result in DPAT for slide {slide_id};")[2].partition("The result in DPAT")[0]
        assert '"displayResult": "ANSWER: 42"' in told
        with Image.open(out / f"{slide_id}.png") as picture:
            # The label "ANSWER: 42" may stand on a part of the outline.
            assert share_of_blue(picture.convert("RGB")) > 0.85
    assert living(mark) == {}


def test_the_demo_works_on_a_host_whose_proxy_variables_lead_nowhere(out: Path, mark: str) -> None:
    proxy = f"http://127.0.0.1:{free_port()}"
    variables = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), proxy)
    variables |= {name.upper(): value for name, value in variables.items()} | {"no_proxy": "", "NO_PROXY": ""}
    demo = start(out, mark, "--once", **variables)
    assert demo.ended(120) == 0, demo.text()
    assert demo.text().count('"displayResult": "ANSWER: 42"') == 2


def test_a_staying_demo_takes_everything_down_when_told_to(out: Path, mark: str) -> None:
    demo = start(out, mark)
    wait_for(lambda: "Still running" in demo.text(), "the demo stays up")
    assert len(living(mark)) >= 4
    demo.kill(signal.SIGTERM)
    assert demo.ended(20) == 143
    assert living(mark) == {}
    assert "Traceback" not in demo.text()
