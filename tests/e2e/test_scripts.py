"""The scripts as an administrator meets them: options, wrong settings, and the ways to stop."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from slidehook.jobs.job import JobState
from slidehook.startup import CANT_START
from tests.e2e.conftest import Dpat, Site
from tests.e2e.running import HOUSE, living, wait_for


@pytest.mark.parametrize(
    ("script", "options"), [("worker_run.sh", ["--processes", "--drain"]), ("demo_run.sh", ["--once", "--out"])]
)
def test_help_tells_the_options_from_any_working_directory(tmp_path: Path, script: str, options: list[str]) -> None:
    command = [str(HOUSE / script), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: {script}")
    assert all(each in done.stdout for each in options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", ["flask_run.sh", "worker_run.sh"])
def test_wrong_settings_end_the_start_of_both_programs_with_one_line_each(
    new_site: Callable[..., Site], script: str
) -> None:
    given = {"port": "banana", "host": "::", "job_timeout": "soon", "dpat_pasword": "geheim", "store_phi": "perhaps"}
    program = new_site().start(script, **given)
    assert program.ended(60) == CANT_START
    lines = program.text().splitlines()
    assert len(lines) == len(given)
    for name, value in given.items():
        (line,) = [each for each in lines if each.startswith(f"slidehook: SLIDEHOOK_{name.upper()}")]
        assert (repr(value) in line) is (name != "dpat_pasword")
        assert " for example SLIDEHOOK_" in line or "the nearest one is SLIDEHOOK_DPAT_PASSWORD" in line
    assert "geheim" not in program.text()


@pytest.mark.parametrize(
    ("script", "setting", "value"),
    [("flask_run.sh", "queue_dir", "/proc/nowhere"), ("worker_run.sh", "demo_seconds", "banana")],
)
def test_a_wrong_setting_ends_the_start_with_one_clear_sentence(
    new_site: Callable[..., Site], script: str, setting: str, value: str
) -> None:
    program = new_site().start(script, **{setting: value})
    assert program.ended(60) == CANT_START
    (line,) = program.text().splitlines()
    assert line.startswith(f"slidehook: SLIDEHOOK_{setting.upper()}")
    assert value in line


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("127.0.0.1", "SLIDEHOOK_PORT: {port} is in use by another program; choose another one"),
        ("no-such-host.invalid", "SLIDEHOOK_HOST: 'no-such-host.invalid' is not an address of this host"),
        ("192.0.2.1", "SLIDEHOOK_HOST: '192.0.2.1' is not an address of this host"),
    ],
)
def test_an_address_that_can_not_be_had_ends_the_webservers_start_with_one_sentence(
    new_site: Callable[..., Site], host: str, sentence: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        program = new_site(port=str(port), host=host).start("flask_run.sh")
        assert program.ended(60) == CANT_START
    (line,) = program.text().splitlines()
    assert line.startswith(f"slidehook: {sentence.format(port=port)}")
    assert ", for example SLIDEHOOK_" in line


def test_an_unusable_queue_ends_several_workers_too(new_site: Callable[..., Site]) -> None:
    program = new_site(queue_dir="/proc/nowhere").start("worker_run.sh", "--processes", "2")
    assert program.ended() != 0
    assert "/proc/nowhere" in program.text()


def test_a_draining_worker_does_all_that_waits_and_leaves(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site()
    web = site.start_web()
    dpat = new_dpat(site)
    slides = [dpat.add_slide() for _ in range(3)]
    for each in slides:
        dpat.create(each)
    worker = site.start("worker_run.sh", "--drain")
    assert worker.ended() == 0
    assert [dpat.shown(each)["displayResult"] for each in slides] == ["ANSWER: 42"] * 3
    assert [job.state for each in slides for job in site.jobs(each)] == [JobState.DONE] * 3
    web.kill(signal.SIGTERM)
    assert web.ended(10) == 0
    assert living(site.mark) == {}


def test_two_processes_work_at_once_are_replaced_when_they_die_and_end_together(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site(demo_seconds="600")
    site.start_web()
    workers = site.start_worker("--processes", "2")
    dpat = new_dpat(site)
    slides = [dpat.add_slide(), dpat.add_slide()]
    for each in slides:
        dpat.create(each)
    wait_for(lambda: workers.text().count("percent=60") == 2, "both compute")
    first, second = workers.children()
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: workers.text().count("percent=60") == 3, "another does the dead one's work")
    assert workers.text().count("worker ready") == 3
    assert second in workers.children()
    workers.kill(signal.SIGTERM)
    assert workers.ended(10) == 0
    assert set(living(site.mark)) == {site.programs[0].pid, *site.programs[0].children()}
    assert site.keeps_no_slide()
    states = {job.state for each in slides for job in site.jobs(each)}
    assert states <= {JobState.WAITING, JobState.PARKED}
