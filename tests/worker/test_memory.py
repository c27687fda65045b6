from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from slidehook.running.memory_guard import MemoryGuard, end_group
from slidehook.running.process_tree import family, members, take_more
from tests.e2e.running import is_alive, wait_for

MIB = 2**20
FOREVER = "print('ready', flush=True); import threading; threading.Event().wait()"
FILLS_60 = "held = bytearray(60 * 2**20);"
Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start Python programs as process groups of their own, and wait until they print."""
    started: list[subprocess.Popen[str]] = []

    def start(program: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", program], stdout=subprocess.PIPE, text=True, process_group=0
        )
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    yield start
    for process in started:
        end_group(process.pid)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_what_a_process_fills_counts_and_what_it_only_reserves_does_not(start: Start) -> None:
    full = start(FILLS_60 + FOREVER)
    reserved = start("import mmap; held = mmap.mmap(-1, 60 * 2**20, flags=mmap.MAP_PRIVATE);" + FOREVER)
    assert take_more([full.pid], 60 * MIB)
    assert not take_more([full.pid], 100 * MIB)
    assert not take_more([reserved.pid], 40 * MIB)


def test_the_processes_of_a_group_count_together_and_what_they_share_once(start: Start) -> None:
    two = start(f"import os; pid = os.fork(); {FILLS_60} {FOREVER}")
    wait_for(lambda: take_more(members(two.pid), 120 * MIB), "both have filled their memory")
    shared = start(f"import os; {FILLS_60} os.fork(); {FOREVER}")
    wait_for(lambda: len(members(shared.pid)) == 2, "it has forked")
    assert sorted(family(shared.pid)) == sorted(members(shared.pid))
    assert take_more(members(shared.pid), 60 * MIB)
    assert not take_more(members(shared.pid), 110 * MIB)


def test_a_group_that_takes_too_much_is_killed_with_all_its_processes(start: Start) -> None:
    family = start(f"import os; pid = os.fork(); held = bytearray(40 * 2**20); {FOREVER}")
    pids = wait_for(lambda: len(found := members(family.pid)) == 2 and found, "it has forked") or []
    with MemoryGuard(family.pid, 60 * MIB) as guard:
        family.wait(120)
        assert guard.exceeded
    assert family.returncode == -signal.SIGKILL
    wait_for(lambda: not any(is_alive(pid) for pid in pids), "nothing of it is left")


AWAY = "import os; os.setsid();"
APART = (
    "import subprocess, sys;"
    f"subprocess.Popen([sys.executable, '-S', '-c', {AWAY + FILLS_60 + FOREVER!r}]);"
    "import threading; threading.Event().wait()"
)
"""Has a child in a session of its own that fills its memory, and says so."""


def test_a_child_in_a_session_of_its_own_counts_and_ends_with_its_group(start: Start) -> None:
    process = start(APART)
    pids = members(process.pid)
    assert len(pids) == 2
    with MemoryGuard(process.pid, 60 * MIB) as guard:
        assert process.wait(120) == -signal.SIGKILL
        assert guard.exceeded
    wait_for(lambda: not any(is_alive(pid) for pid in pids), "nothing of it is left")


def test_a_group_is_killed_also_when_its_processes_can_not_be_looked_for(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def blind(group: int) -> list[int]:
        raise OSError(24, "Too many open files")

    process = start(FOREVER)
    monkeypatch.setattr("slidehook.running.memory_guard.members", blind)
    end_group(process.pid)
    assert process.wait(120) == -signal.SIGKILL


def test_a_group_that_takes_little_is_left_alone(start: Start) -> None:
    process = start(FOREVER)
    with MemoryGuard(process.pid, 500 * MIB) as guard:
        pass
    assert not guard.exceeded
    assert process.poll() is None


def test_a_group_that_has_ended_takes_nothing(start: Start) -> None:
    process = start("print('ready', flush=True)")
    process.wait()
    assert members(process.pid) == []
    assert not take_more([process.pid], 0)
    end_group(process.pid)
    assert os.getpid() in members(os.getpgrp())


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), ValueError("?"), IndexError("?")])
def test_a_guard_that_can_not_look_for_a_moment_looks_on(
    start: Start, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    looks: list[list[int]] = []

    def at_the_third_look(pids: list[int], limit_bytes: float) -> bool:
        looks.append(pids)
        if len(looks) < 3:
            raise error
        return take_more(pids, limit_bytes)

    monkeypatch.setattr("slidehook.running.memory_guard.take_more", at_the_third_look)
    process = start(FILLS_60 + FOREVER)
    with MemoryGuard(process.pid, 30 * MIB) as guard:
        assert process.wait(120) == -signal.SIGKILL
    assert guard.exceeded
    assert len(looks) == 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nothing_runs_on_under_a_guard_that_has_a_fault(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(pids: list[int], limit_bytes: float) -> bool:
        raise AssertionError("a fault of its own")

    monkeypatch.setattr("slidehook.running.memory_guard.take_more", faulty)
    process = start(FOREVER)
    with MemoryGuard(process.pid, 500 * MIB) as guard:
        assert process.wait(120) == -signal.SIGKILL
    assert not guard.exceeded
