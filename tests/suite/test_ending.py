"""A test run that is killed leaves no process behind, and hears what its shell was started to ignore."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.running import HOUSE, wait_for
from tests.sweeping import marked

A_RUN = """
import os, time
from pathlib import Path
from tests.e2e.conftest import compute, busy_site, busy_dpat, new_site, new_dpat
from tests.sweeping import MARK

def test_of_a_site_that_computes(busy_site, busy_dpat):
    compute(busy_site, busy_dpat, busy_dpat.add_slide())
    Path({told!r}).write_text(f"{{os.getpid()}} {{os.environ[MARK]}}")
    time.sleep(600)
"""
SIGNALS = """
import subprocess, sys
IGNORED = "import signal; print([s.name for s in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)"
IGNORED += " if signal.getsignal(s) is signal.SIG_IGN])"

def test_of_signals():
    assert subprocess.check_output([sys.executable, "-S", "-c", IGNORED], text=True) == "[]\\n"
"""
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start pytest on one file of the given source, with the conftest of all tests."""
    started = []

    def start(source: str, *options: str, within: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        test = tmp_path / "test_inner.py"
        test.write_text(source)
        command = [
            *within,
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.conftest",
            "-c",
            "pyproject.toml",
            *options,
            str(test),
        ]
        started.append(
            subprocess.Popen(
                command, cwd=HOUSE, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("options", "number", "whole"),
    [
        ((), signal.SIGKILL, True),
        ((), signal.SIGINT, True),
        ((), signal.SIGHUP, True),
        (("--numprocesses", "1"), signal.SIGKILL, True),
        (("--numprocesses", "1"), signal.SIGKILL, False),
    ],
    ids=["killed", "Ctrl-C", "terminal closed", "xdist killed", "a process of xdist killed"],
)
def test_a_run_that_ends_early_leaves_no_process(
    start: Start, tmp_path: Path, options: tuple[str, ...], number: signal.Signals, *, whole: bool
) -> None:
    told = tmp_path / "told"
    run = start(A_RUN.format(told=str(told)), *options)
    wait_for(lambda: told.exists() and len(told.read_text().split()) == 2, "the site computes", within_s=120)
    pid, mark = told.read_text().split()
    # gunicorn and its worker, the worker, and the app's process at least
    assert len(marked(mark)) >= 4
    os.kill(run.pid if whole else int(pid), number)
    wait_for(lambda: not marked(mark), "all that was started has ended", within_s=60)


def test_programs_under_test_hear_the_signals_that_the_shell_ignores(start: Start) -> None:
    run = start(SIGNALS, within=("env", "--ignore-signal=INT,HUP,QUIT"))
    assert run.wait(60) == 0
