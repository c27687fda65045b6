"""Locks that do not work are noticed before a worker starts."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from slidehook.errors import QueueError
from slidehook.jobs.files import claimers, probe
from slidehook.jobs.files.claimers import Claimer, read_beats
from slidehook.jobs.files.layout import Layout
from slidehook.jobs.files.probe import BEATS_WATCHED, LOCAL_LOCKS, LocksDontWork, check_locks
from slidehook.jobs.files.watch import Mount, mount_of
from slidehook.kernel import boot_id

BEAT_S = 0.1
OTHER_KERNEL = "0123456789ab"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Layout(tmp_path / "queue").root


@pytest.fixture
def elsewhere(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Claimer]:
    """A living claimer under another kernel."""
    with monkeypatch.context() as other:
        other.setattr(claimers, "boot_id", lambda: OTHER_KERNEL)
        claimer = Claimer(root, "work", beat_s=BEAT_S)
    yield claimer
    claimer.close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits of a check, in seconds: each passes at once, on a clock of its own."""
    waits: list[float] = []
    clock = SimpleNamespace(sleep=waits.append, monotonic=lambda: sum(waits))
    monkeypatch.setattr(probe, "time", clock)
    return waits


def mounts(root: Path, kind: str, options: str) -> str:
    return f"/dev/sda1 / ext4 rw 0 0\nserver:/x {root.parent} {kind} {options} 0 0\ntmpfs /run tmpfs rw 0 0\n"


def check(root: Path) -> None:
    check_locks(root, beat_s=BEAT_S)


def let_go(claimer: Claimer) -> None:
    """Let a claimer live on without its lock, as where locks are not seen elsewhere."""
    claimer._lock.release()


def stop_beating(claimer: Claimer) -> None:
    claimer._stop.set()
    claimer._thread.join()


# --- a lock at all


def test_a_local_disk_passes_without_a_wait_and_nothing_is_left(root: Path, waits: list[float]) -> None:
    before = sorted(root.rglob("*"))
    check_locks(root)
    assert waits == []
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EINVAL])
def test_a_file_system_without_locks_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(_fd: int, _how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(LocksDontWork, match="put the queue on one that does") as caught:
        check(root)
    assert not caught.value.retryable
    assert list((root / "claimers").iterdir()) == []


def test_a_file_system_whose_locks_exclude_nobody_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda _fd, _how: None)
    with pytest.raises(LocksDontWork, match="can be had twice"):
        check(root)
    assert list((root / "claimers").iterdir()) == []


def test_a_share_that_is_away_is_another_error_which_may_pass(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_fd: int, _how: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(QueueError, match="Input/output error") as caught:
        check(root)
    assert caught.value.retryable


# --- the mount


@pytest.mark.parametrize(
    ("kind", "option"), [(kind, each) for kind, every in LOCAL_LOCKS.items() for each in sorted(every)]
)
def test_a_mount_that_keeps_locks_to_its_host_is_refused_by_its_option(root: Path, kind: str, option: str) -> None:
    with pytest.raises(LocksDontWork, match=f"{option}.*mount {root.parent} without") as caught:
        check_locks(root, mounts=mounts(root, kind, f"rw,{option},soft"))
    assert str(root) in str(caught.value)
    assert list((root / "claimers").iterdir()) == []


def test_sshfs_is_refused_whatever_its_options(root: Path) -> None:
    with pytest.raises(LocksDontWork, match="CIFS or NFS"):
        check_locks(root, mounts=mounts(root, "fuse.sshfs", "rw"))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("cifs", "rw,vers=3.1.1"), ("nfs4", "rw,local_lock=none"), ("nfs", "rw,local_lock=posix"), ("ext4", "rw,nobrl")],
)
def test_a_mount_with_locks_passes(root: Path, kind: str, options: str) -> None:
    check_locks(root, mounts=mounts(root, kind, options))


def test_the_innermost_mount_decides_and_its_escaped_name_is_read(tmp_path: Path) -> None:
    text = "a / ext4 rw 0 0\nb /mnt/my\\040share cifs rw,nobrl 0 0\nc /mnt/my ext4 rw 0 0\n"
    assert mount_of(Path("/mnt/my share/queue"), text) == Mount("cifs", "/mnt/my share", frozenset({"rw", "nobrl"}))
    assert mount_of(Path("/mnt/my/queue"), text).point == "/mnt/my"
    assert mount_of(tmp_path, "").kind == "unknown"


# --- other hosts


def test_a_living_claimer_elsewhere_with_its_lock_costs_no_time(
    root: Path, elsewhere: Claimer, waits: list[float]
) -> None:
    assert elsewhere.id.split("-")[-3] == OTHER_KERNEL != boot_id()
    check_locks(root)
    assert waits == []


def test_a_living_claimer_elsewhere_whose_lock_can_be_had_is_named(root: Path, elsewhere: Claimer) -> None:
    let_go(elsewhere)
    with pytest.raises(LocksDontWork, match=f"{elsewhere.id} works on the queue .*CIFS: without nobrl"):
        check(root)


def test_a_dead_claimer_elsewhere_costs_three_beats_and_no_more(
    root: Path, elsewhere: Claimer, waits: list[float]
) -> None:
    stop_beating(elsewhere)
    let_go(elsewhere)
    check_locks(root)
    assert sum(waits) == BEATS_WATCHED * claimers.BEAT_S


def test_a_claimer_that_has_its_lock_back_in_time_is_no_reason_to_refuse(
    root: Path, elsewhere: Claimer, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go(elsewhere)
    real_look = read_beats
    looks = itertools.count()

    def look(where: Path) -> dict[str, int]:
        if next(looks) == 3:
            elsewhere._lock.acquire(blocking=False)
        return real_look(where)

    monkeypatch.setattr(probe, "read_beats", look)
    check(root)
    assert next(looks) > 3


def test_a_claimer_of_this_host_and_foreign_files_are_passed_over(root: Path, waits: list[float]) -> None:
    claimer = Claimer(root, "work", beat_s=BEAT_S)
    let_go(claimer)
    (root / "beats" / "notes.txt").touch()
    (root / "beats" / "somebody.3").touch()
    (root / "claimers" / "somebody.lock").touch()
    try:
        check_locks(root)
        assert waits == []
    finally:
        claimer.close()
