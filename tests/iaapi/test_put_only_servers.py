from __future__ import annotations

import json
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from slidehook.dpat.iaapi.put_only_servers import AVOID_PATCH_S, FILE_NAME, MAX_SERVERS, VALID_S, PutOnlyServer

URL = "https://dpat/v1"


@dataclass
class Clock:
    now: float = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def known(tmp_path: Path, clock: Clock) -> PutOnlyServer:
    return PutOnlyServer(URL, tmp_path, clock=clock)


def other(folder: Path, clock: Clock, url: str = URL) -> PutOnlyServer:
    """The object of another process."""
    return PutOnlyServer(url, folder, clock=clock)


def test_nothing_is_known_at_first(known: PutOnlyServer, tmp_path: Path) -> None:
    assert not known.is_put_only()
    assert not list(tmp_path.iterdir())


def test_an_entry_is_valid_in_all_processes_for_a_day(known: PutOnlyServer, tmp_path: Path, clock: Clock) -> None:
    known.remember()
    clock.now += VALID_S - 1
    assert known.is_put_only()
    assert other(tmp_path, clock).is_put_only()
    assert not other(tmp_path, clock, "https://dpat/v2").is_put_only()
    clock.now += 2
    assert not known.is_put_only()
    assert not other(tmp_path, clock).is_put_only()


def test_setting_the_clock_back_extends_no_entry(known: PutOnlyServer, tmp_path: Path, clock: Clock) -> None:
    known.remember()
    clock.now -= 10
    assert not known.is_put_only()
    assert not other(tmp_path, clock).is_put_only()


def test_avoiding_patch_is_short_and_local_to_a_process(known: PutOnlyServer, tmp_path: Path, clock: Clock) -> None:
    known.avoid_patch()
    assert known.is_put_only()
    assert not other(tmp_path, clock).is_put_only()
    clock.now += AVOID_PATCH_S + 1
    assert not known.is_put_only()


def test_a_removed_entry_is_gone_in_all_processes(known: PutOnlyServer, tmp_path: Path, clock: Clock) -> None:
    known.remember()
    other(tmp_path, clock, "https://b/v1").remember()
    known.forget()
    assert not known.is_put_only()
    assert not other(tmp_path, clock).is_put_only()
    assert other(tmp_path, clock, "https://b/v1").is_put_only()


def test_the_file_is_private_complete_and_small(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "data"
    for number in range(MAX_SERVERS + 5):
        clock.now += 1
        other(folder, clock, f"https://dpat-{number}/v1").remember()
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    found = json.loads(path.read_bytes())
    assert len(found) == MAX_SERVERS
    assert f"https://dpat-{MAX_SERVERS + 4}/v1" in found


def test_concurrent_writers_leave_a_complete_file(tmp_path: Path, clock: Clock) -> None:
    threads = [
        threading.Thread(target=other(tmp_path, clock, f"https://dpat-{number}/v1").remember) for number in range(8)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_bytes())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"[" * 50_000,
        json.dumps({URL: "today"}).encode(),
        json.dumps({URL: True}).encode(),
        json.dumps({URL: float("nan")}).encode(),
        json.dumps({URL: 10**400}).encode(),
        json.dumps({URL: [1e9]}).encode(),
    ],
)
def test_a_damaged_file_counts_as_empty_and_is_replaced(
    known: PutOnlyServer, tmp_path: Path, clock: Clock, content: bytes
) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    assert not known.is_put_only()
    known.remember()
    assert other(tmp_path, clock).is_put_only()


def test_an_unwritable_folder_only_prevents_saving_and_logs_one_warning(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "data").write_bytes(b"")
    known = other(tmp_path / "data", clock)
    logged: list[Any]
    with structlog.testing.capture_logs() as logged:
        known.remember()
        known.remember()
    assert known.is_put_only()
    assert [each["event"] for each in logged] == ["cannot save that DPAT accepts PUT only"]
