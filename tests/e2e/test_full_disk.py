"""A worker's disk that is full: the job waits, says so, and ends right when there is room; nothing is left of it."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from slidehook.jobs.job import JobState
from tests.e2e.conftest import Dpat, Site
from tests.e2e.running import files_below, wait_for

WITHIN_S = 90.0
MOUNT = 'mkdir -p "$1" && mount -t tmpfs -o size=12m tmpfs "$1" && shift && exec "$@"'
"""Gives a command a little disk of its own at `$1`, in a mount namespace that nobody else sees."""
NAMESPACE = ("unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT, "sh")


def can_mount(folder: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*NAMESPACE, str(folder), "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("like", ["immuno", "immuno-dicom"], ids=["one file", "several files"])
def test_a_job_waits_while_its_workers_disk_is_full_and_then_ends_right(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat], tmp_path: Path, like: str
) -> None:
    if not can_mount(tmp_path / "probe"):
        pytest.skip("a disk of its own can't be mounted here: unshare is missing or not allowed")
    site = new_site(max_attempts="1", min_free_gb="0")
    site.start_web()
    worker = site.start_worker(within=[*NAMESPACE, str(site.data)])
    dpat = new_dpat(site)
    slide_id = dpat.add_slide(like)
    # As the worker's processes see it.
    data = Path(f"/proc/{worker.pid}/root{site.data}")
    ballast = data / "ballast"

    dpat.add_fault("/files$", "stall", after_bytes=200_000, seconds=4)
    dpat.create(slide_id)
    wait_for(lambda: parts(data), "the download has begun")
    fill(ballast)
    waiting = "waiting to try again: the disk of the host "
    assert dpat.wait_until(lambda: dpat.shown(slide_id)["displayResult"].startswith(waiting), WITHIN_S)
    job = site.job_in(JobState.PARKED, slide_id)
    assert wait_for(lambda: not parts(data), "nothing half-written is left")
    assert "is full: no room for the slide" in site.types("jobs", "show", job.record.job.id)

    ballast.unlink()
    assert dpat.wait_until(lambda: dpat.shown(slide_id)["displayResult"] == "ANSWER: 42", WITHIN_S)
    assert site.job_in(JobState.DONE, slide_id).attempt == 1
    assert not [each for each in dpat.shown(slide_id)["history"] if each["displayResult"].startswith("failed")]


def test_a_job_waits_where_too_little_of_the_disk_would_stay_free(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site(max_attempts="1")
    site.start_web()
    worker = site.start_worker(min_free_gb="1e9")
    dpat = new_dpat(site)
    slide_id = dpat.add_slide("immuno")
    dpat.create(slide_id)
    waiting = "waiting to try again: the disk of the host "
    assert dpat.wait_until(lambda: dpat.shown(slide_id)["displayResult"].startswith(waiting), WITHIN_S)
    job = site.job_in(JobState.PARKED, slide_id)
    assert "beside the 1e+09 GB that SLIDEHOOK_MIN_FREE_GB keeps free" in site.types(
        "jobs", "show", job.record.job.id
    )
    assert not [call for call in dpat.calls() if call.path.endswith("/files")]

    worker.kill(signal.SIGTERM)
    worker.ended(WITHIN_S)
    site.start_worker(min_free_gb="0")
    assert dpat.wait_until(lambda: dpat.shown(slide_id)["displayResult"] == "ANSWER: 42", WITHIN_S)
    assert site.job_in(JobState.DONE, slide_id).attempt == 1


def test_health_says_that_no_job_can_be_put_while_the_queues_disk_is_full(
    new_site: Callable[..., Site], tmp_path: Path
) -> None:
    if not can_mount(tmp_path / "probe"):
        pytest.skip("a disk of its own can't be mounted here: unshare is missing or not allowed")
    site = new_site()
    web = site.start("flask_run.sh", within=[*NAMESPACE, str(site.queue)])

    def says(status: int) -> str:
        """Return what /healthz says if it answers with `status`, else nothing."""
        assert web.process.poll() is None, web.text()
        with contextlib.suppress(requests.ConnectionError):
            answer = site.get("/healthz")
            return answer.text if answer.status_code == status else ""
        return ""

    wait_for(lambda: says(200), "the webserver answers")
    ballast = Path(f"/proc/{web.pid}/root{site.queue}/ballast")
    fill(ballast)
    told = wait_for(lambda: says(503), "the full disk is told")
    assert "SLIDEHOOK_QUEUE_DIR: no job can be put into" in told
    assert "No space left on device" in told
    ballast.unlink()
    wait_for(lambda: says(200), "there is room again")


def parts(data: Path) -> list[Path]:
    """Return the files that are being downloaded."""
    return [path for path in files_below(data) if path.suffix == ".part"]


def fill(path: Path) -> None:
    """Write until the disk takes no more."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
