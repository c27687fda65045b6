"""Programs whose log can't be written, or whose terminal is closed: the work goes on, or ends in order."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from slidehook.jobs.job import JobState
from tests.e2e.conftest import LONG_S, Dpat, Site
from tests.e2e.running import Program, is_alive, wait_for

ODD = (sys.executable, str(Path(__file__).with_name("odd_output.py")))
BUSY_S = 90.0
COLOUR = re.compile("\x1b\\[[0-9;]*m")


@pytest.mark.parametrize("kind", ["full", "dead", "stuck", "closed"])
def test_what_can_not_be_logged_stops_neither_a_webhook_nor_a_worker(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat], kind: str
) -> None:
    site = new_site(web_processes="2")
    web = site.start("flask_run.sh", "--access-logfile", "-", within=[*ODD, kind])
    wait_for(lambda: site._answers(web), "the webserver answers", within_s=BUSY_S)
    worker = site.start("worker_run.sh", within=[*ODD, kind])
    dpat = new_dpat(site)
    for slide_id in (dpat.add_slide(), dpat.add_slide()):
        assert dpat.create(slide_id).status == 200
        assert dpat.final(slide_id, within_s=BUSY_S)["displayResult"] == "ANSWER: 42"
        assert site.job_in(JobState.DONE, slide_id).attempt == 1
    assert site.post({}).status_code == 400
    assert site.get("/healthz").ok
    for program in (worker, web):
        assert program.process.poll() is None
        program.kill(signal.SIGTERM)
        assert program.ended(BUSY_S) == 0


def test_several_workers_without_a_log_are_replaced_and_end_when_there_is_nothing_left(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site()
    site.start_web()
    workers = site.start("worker_run.sh", "--processes", "2", within=[*ODD, "full"])
    dpat = new_dpat(site)
    first = wait_for(lambda: workers.children() if len(workers.children()) == 2 else None, "both run") or []
    os.kill(first[0], signal.SIGKILL)
    wait_for(lambda: len({*workers.children()} - {*first}) == 1, "the dead one is replaced", within_s=BUSY_S)
    slide_id = dpat.add_slide()
    dpat.create(slide_id)
    assert dpat.final(slide_id, within_s=BUSY_S)["displayResult"] == "ANSWER: 42"
    assert workers.process.poll() is None
    draining = site.start("worker_run.sh", "--drain", within=[*ODD, "full"])
    assert draining.ended(BUSY_S) == 0


class Terminal:
    """A terminal of a test's own; closing it is what happens when a user closes its window."""

    def __init__(self) -> None:
        self.master, slave = os.openpty()
        self.name = os.ttyname(slave)
        self._slave = slave
        self.shown = b""
        os.set_blocking(self.master, False)

    def shows(self, text: str) -> bool:
        """Read what is shown, and return whether `text` is in it."""
        try:
            while more := os.read(self.master, 65536):
                self.shown += more
        except BlockingIOError:
            pass
        return text in COLOUR.sub("", self.shown.decode(errors="replace"))

    def close(self) -> None:
        """Close the window."""
        os.close(self._slave)
        os.close(self.master)


def in_terminal(site: Site, script: str, *options: str, within: tuple[str, ...] = ()) -> tuple[Program, Terminal]:
    terminal = Terminal()
    return site.start(script, *options, within=[*ODD, terminal.name, *within]), terminal


@pytest.mark.parametrize("options", [(), ("--processes", "2")], ids=["one", "several"])
def test_a_worker_whose_terminal_is_closed_hands_its_job_back_and_leaves(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat], options: tuple[str, ...]
) -> None:
    site = new_site(demo_seconds=LONG_S)
    site.start_web()
    worker, terminal = in_terminal(site, "worker_run.sh", *options)
    dpat = new_dpat(site)
    slide_id = dpat.add_slide()
    dpat.create(slide_id)
    wait_for(lambda: terminal.shows("percent=60"), "the app computes", within_s=BUSY_S)
    terminal.close()
    assert worker.ended(BUSY_S) == 0
    assert [each.state for each in site.jobs(slide_id)] == [JobState.WAITING]
    assert site.keeps_no_slide()


def test_a_worker_under_nohup_outlives_its_terminal(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site()
    site.start_web()
    worker, terminal = in_terminal(site, "worker_run.sh", within=("sh", "-c", "trap '' HUP; exec \"$@\"", "sh"))
    wait_for(lambda: terminal.shows("worker ready"), "the worker is ready", within_s=BUSY_S)
    terminal.close()
    dpat = new_dpat(site)
    slide_id = dpat.add_slide()
    dpat.create(slide_id)
    assert dpat.final(slide_id, within_s=BUSY_S)["displayResult"] == "ANSWER: 42"
    assert worker.process.poll() is None


def test_a_webserver_whose_terminal_is_closed_finishes_its_answers_and_goes_on(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site(web_processes="1")
    web, terminal = in_terminal(site, "flask_run.sh")
    wait_for(lambda: site._answers(web), "the webserver answers", within_s=BUSY_S)
    dpat = new_dpat(site)
    before = web.children()
    dpat.add_fault("/results$", "stall", method="POST", seconds=3)
    answers = []
    slide_id = dpat.add_slide()
    user = threading.Thread(target=lambda: answers.append(dpat.create(slide_id)))
    user.start()
    wait_for(lambda: not dpat.faults(), "DPAT is busy with the result")
    terminal.close()
    user.join()
    assert [each.status for each in answers] == [200]
    wait_for(lambda: not any(map(is_alive, before)), "gunicorn has replaced its processes", within_s=BUSY_S)
    wait_for(lambda: site._answers(web), "the webserver answers", within_s=BUSY_S)
    assert dpat.create(dpat.add_slide()).status == 200
