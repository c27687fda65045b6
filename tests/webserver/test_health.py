"""The health check of the queue, and its cost."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slidehook.errors import QueueError
from slidehook.jobs.files.layout import FOLDERS, Layout
from slidehook.jobs.files.probe import check_puttable
from tests.e2e.running import files_below
from webserver import health
from webserver.health import Health


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    Layout(tmp_path / "queue")
    return tmp_path / "queue"


def test_the_check_leaves_a_working_queue_unchanged(queue: Path) -> None:
    before = files_below(queue)
    check_puttable(queue)
    assert files_below(queue) == before


@pytest.mark.parametrize("name", FOLDERS)
def test_a_queue_that_lacks_a_folder_is_unhealthy(queue: Path, name: str) -> None:
    (queue / name).rmdir()
    with pytest.raises(QueueError, match=f"SLIDEHOOK_QUEUE_DIR: no job can be put .*{queue}"):
        check_puttable(queue)


def test_a_missing_queue_is_not_created_again(queue: Path) -> None:
    shutil.rmtree(queue)
    with pytest.raises(QueueError, match="No such file or directory"):
        check_puttable(queue)
    assert not queue.exists()


def test_a_read_only_queue_is_unhealthy(queue: Path) -> None:
    (queue / "active").chmod(0o500)
    if os.access(queue / "active", os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(QueueError, match="active can't be written"):
        check_puttable(queue)


class Hanging:
    """A share that responds on the test's command."""

    def __init__(self) -> None:
        self.looks = 0
        self.answers = threading.Event()

    def __call__(self) -> None:
        self.looks += 1
        assert self.answers.wait(120)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    hanging = Hanging()
    yield hanging
    hanging.answers.set()


def test_a_queue_that_hangs_delays_no_caller_for_long(hanging: Hanging) -> None:
    health = Health(hanging)
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(QueueError, match="does not respond"):
            health.check()
    assert time.monotonic() - began < 60  # on a busy machine; only the first call waits, up to 1.5 s
    assert hanging.looks == 1
    hanging.answers.set()
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            health.check()
        except QueueError:
            continue
        return
    pytest.fail("the queue answers again, and nobody says so")


def test_any_number_of_callers_cause_one_check(hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "FRESH_S", 600.0)
    monkeypatch.setattr(health, "TIMEOUT_S", 60.0)
    asked = Health(hanging)
    with ThreadPoolExecutor(16) as pool:
        calls = [pool.submit(asked.check) for _ in range(200)]
        hanging.answers.set()
        assert [call.result(60) for call in calls] == [None] * 200
    assert hanging.looks == 1
