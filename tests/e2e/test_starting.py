"""A worker that can't work says so before it claims anything, names the setting, and tells by its exit status why."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from slidehook.jobs.job import JobState
from slidehook.startup import CANT_START, START_LATER
from tests.e2e.conftest import Dpat, Site
from tests.e2e.running import wait_for

TINY_DISK = 'mkdir -p "$1" && mount -t tmpfs -o size=32k tmpfs "$1" && shift && exec "$@"'
NAMESPACE = ("unshare", "--map-root-user", "--mount", "sh", "-c", TINY_DISK, "sh")


@pytest.mark.parametrize(
    ("setting", "place", "options"),
    [
        ("data_dir", "/sys/slidehook", []),
        ("data_dir", "a file", ["--processes", "2"]),
        ("queue_dir", "/sys/slidehook", ["--processes", "2"]),
        ("queue_dir", "below a file", []),
    ],
)
def test_a_folder_that_can_not_be_used_ends_the_start_by_its_settings_name(
    new_site: Callable[..., Site], tmp_path: Path, setting: str, place: str, options: list[str]
) -> None:
    if "file" in place:
        file = tmp_path / "a-file"
        file.touch()
        place = str(file if place == "a file" else file / "folder")
    program = new_site().start("worker_run.sh", *options, **{setting: place})
    assert program.ended(60) == CANT_START
    lines = program.text().splitlines()
    assert 1 <= len(lines) <= 2  # one for each process
    assert all(line.startswith(f"slidehook: SLIDEHOOK_{setting.upper()}: ") and place in line for line in lines)


def test_a_full_disk_ends_the_start_with_a_status_that_says_that_it_may_pass(
    new_site: Callable[..., Site], tmp_path: Path
) -> None:
    probe = [*NAMESPACE, str(tmp_path / "probe"), "true"]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("a disk of its own can't be mounted here: unshare is missing or not allowed")
    site = new_site()
    program = site.start("worker_run.sh", within=[*NAMESPACE, str(site.data)])
    assert program.ended(60) == START_LATER
    (line,) = program.text().splitlines()
    assert line.startswith("slidehook: SLIDEHOOK_DATA_DIR: nothing can be stored in ")
    assert line.endswith("No space left on device")


def test_a_data_folder_that_can_not_be_used_later_uses_up_no_attempt(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site(max_attempts="1")
    site.start_web()
    worker = site.start_worker()
    dpat = new_dpat(site)
    slide_id = dpat.add_slide()
    shutil.rmtree(site.data)
    site.data.touch()
    dpat.create(slide_id)
    waiting = "waiting to try again: "
    assert dpat.wait_until(lambda: dpat.shown(slide_id)["displayResult"].startswith(waiting), 60)
    assert "can't be stored on the host" in dpat.shown(slide_id)["displayResult"]
    assert site.job_in(JobState.PARKED, slide_id).attempt == 0
    wait_for(lambda: worker.text().count("again later") >= 2, "it was tried again")
    site.data.unlink()
    assert dpat.wait_until(lambda: dpat.shown(slide_id)["displayResult"] == "ANSWER: 42", 90)
    assert site.job_in(JobState.DONE, slide_id).attempt == 1
