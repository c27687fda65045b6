"""Workers that die are started again, ever later; those that can't start are given up, with a reason."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from slidehook.backoff import Backoff
from slidehook.startup import CANT_START
from worker import supervisor
from worker.shutdown import Interruption
from worker.supervisor import RESTART_BACKOFF, STARTS_MOST, _Supervisor

NOTE = """
import os, sys, time
with open(sys.argv[1], "a") as file:
    file.write(f"{time.monotonic()}\\n")
ready = int(sys.argv[sys.argv.index("--ready") + 1])
"""
READY = 'os.write(ready, b"1"); os.close(ready)\n'


class Workers:
    """Programs in the place of workers, which note when they start."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes
        self.leaving = Interruption()

    def supervise(self, text: str, processes: int = 1) -> int:
        """Run the supervisor on a program of this text, until it ends; returns its exit status."""
        looks_after = _Supervisor(self.leaving, drain=False)
        looks_after._command = [sys.executable, "-c", NOTE + text, str(self._notes)]
        return looks_after.run(processes)

    def starts(self) -> list[float]:
        return [float(line) for line in self._notes.read_text().splitlines()]


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    monkeypatch.setattr(supervisor, "CHECK_EVERY_S", 0.01)
    monkeypatch.setattr(supervisor, "RESTART_BACKOFF", Backoff(0.02, 30.0, spread=False))
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    yield Workers(tmp_path / "starts")
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_worker_that_can_not_start_is_tried_ever_later_and_given_up_with_a_reason(
    workers: Workers,
) -> None:
    with capture_logs() as logged:
        assert workers.supervise("sys.exit(3)") == 3
    starts = workers.starts()
    assert len(starts) == STARTS_MOST
    for number, (before, after) in enumerate(pairwise(starts), start=1):
        assert after - before >= 0.02 * 2 ** (number - 1)
    assert logged[-1]["event"] == "a worker could not start, and is not tried again"
    assert logged[-1]["status"] == 3


def test_the_waits_grow_up_to_half_a_minute() -> None:
    assert [RESTART_BACKOFF.wait_s(deaths) for deaths in (1, 2, 3, 7, 8, 10_000)] == [0.5, 1.0, 2.0, 30.0, 30.0, 30.0]


def test_a_worker_that_says_that_it_can_not_start_is_not_tried_again(workers: Workers) -> None:
    assert workers.supervise(f"sys.exit({CANT_START})", processes=2) == CANT_START
    assert len(workers.starts()) <= 2


def test_a_worker_that_dies_at_its_work_is_started_again_however_often(workers: Workers, tmp_path: Path) -> None:
    often = STARTS_MOST + 2
    text = f"{READY}sys.exit(0 if len(open(sys.argv[1]).readlines()) > {often} else 1)"
    supervisor_waits_s = sum(0.02 * 2 ** (number - 1) for number in range(2, often))
    began = time.monotonic()
    assert workers.supervise(text) == 0
    assert len(workers.starts()) == often + 1
    assert time.monotonic() - began >= supervisor_waits_s


def test_the_first_death_of_a_worker_at_its_work_costs_no_wait(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "RESTART_BACKOFF", Backoff(600.0, 600.0, spread=False))
    assert workers.supervise(f"{READY}sys.exit(0 if len(open(sys.argv[1]).readlines()) > 1 else 1)") == 0
    assert len(workers.starts()) == 2


def test_who_is_told_to_leave_waits_for_no_start(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RESTART_BACKOFF", Backoff(600.0, 600.0, spread=False))
    text = "import signal; os.kill(os.getppid(), signal.SIGTERM); sys.exit(3)"
    assert workers.supervise(text) in {0, 3}
    assert len(workers.starts()) == 1
