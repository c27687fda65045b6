"""What an app has started, and prints, when its worker is killed: the next worker ends what was started."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slidehook.jobs.job import JobState
from tests.e2e.conftest import Dpat, Site
from tests.e2e.running import is_alive, wait_for

MANY = 25
BUSY_S = 90.0
PACKAGE = """
import os, subprocess, sys, threading
from pathlib import Path
from slidehook import App, Result

SLEEPER = [sys.executable, "-S", "-c", "import threading; threading.Event().wait(600)"]
PIDS = Path(os.environ["STARTER_PIDS"])


class Starter(App):
    id = "wholeslide"
    name = "Starter"
    route = "/dpat_ia_app_demo/wholeslide"
    needs = ()

    def analyze(self, slide, progress):
        if PIDS.exists():
            return Result("started before")
        started = [subprocess.Popen(SLEEPER, start_new_session=True) for _ in range(COUNT)]
        started += [subprocess.Popen(SLEEPER, start_new_session=True, env={}) for _ in range(COUNT)]
        PIDS.write_text(" ".join(str(each.pid) for each in started))
        print("all are started")
        threading.Event().wait()
"""


@pytest.fixture
def starters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install the package above in the place of the demo app; returns the file that names what it has started."""
    folder = tmp_path / "site-packages"
    about = folder / "starter_app-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "starter_app.py").write_text(PACKAGE.replace("COUNT", str(MANY)))
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: starter-app\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[slidehook.apps]\nstarter = starter_app:Starter\n")
    pids = tmp_path / "pids"
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("STARTER_PIDS", str(pids))
    yield pids
    for pid in started(pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def started(pids: Path) -> list[int]:
    return [int(each) for each in pids.read_text().split()] if pids.exists() else []


@pytest.mark.parametrize("options", [(), ("--processes", "2")], ids=["one", "several"])
def test_what_a_killed_workers_app_has_started_is_ended_by_the_next_worker(
    starters: Path, new_site: Callable[..., Site], new_dpat: Callable[..., Dpat], options: tuple[str, ...]
) -> None:
    site = new_site()
    site.start_web()
    worker = site.start_worker(*options)
    dpat = new_dpat(site)
    slide_id = dpat.add_slide()
    dpat.create(slide_id)
    wait_for(lambda: "| all are started" in worker.text(), "the app has started them", within_s=BUSY_S)
    (job,) = site.jobs(slide_id)
    (line,) = [each for each in worker.text().splitlines() if "| all are started" in each]
    assert f"job={job.record.job.id}" in line
    assert len(started(starters)) == 2 * MANY
    assert all(map(is_alive, started(starters)))

    for pid in worker.children() if options else [worker.pid]:
        os.kill(pid, signal.SIGKILL)
    if not options:
        site.start_worker()
    wait_for(lambda: not any(map(is_alive, started(starters))), "all have ended", within_s=BUSY_S)
    assert dpat.final(slide_id, within_s=BUSY_S)["displayResult"] == "started before"
    assert site.job_in(JobState.DONE, slide_id).attempt == 2
