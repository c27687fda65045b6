"""Messages to whoever works on a job."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from slidehook.jobs.files.notes import NoteKind, Notes
from slidehook.jobs.job import new_job_id

JOB, OTHER = f"{1:016x}-9f65450a", f"{2:016x}-c20c145a"


class Board:
    """The folders of the notes, and the notes."""

    def __init__(self, root: Path) -> None:
        self.root, self.tmp = root / "notes", root / "tmp"
        self.root.mkdir()
        self.tmp.mkdir()
        self.notes = Notes(str(self.root), str(self.tmp))

    def token(self, job_id: str = JOB) -> str:
        return self.notes.read(self.notes.newest(job_id, NoteKind.SECRET))


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


def test_a_note_is_read_by_whoever_works_on_the_job(board: Board) -> None:
    board.notes.post(JOB, NoteKind.SECRET, 5, "gehöimnis".encode())

    assert board.token() == "gehöimnis"


def test_a_job_without_notes_has_none(board: Board) -> None:
    board.notes.post(OTHER, NoteKind.SECRET, 5, b"x")

    assert board.notes.of(JOB) == []
    assert board.notes.newest(JOB, NoteKind.SECRET) == ""


def test_the_note_that_came_last_is_the_newest(board: Board) -> None:
    for now_ns, token in ((5, b"one"), (7, b"two"), (2**60, b"three")):
        board.notes.post(JOB, NoteKind.SECRET, now_ns, token)

    assert board.token() == "three"


@pytest.mark.parametrize("second_ns", [1000, 999, 1])
def test_a_later_note_is_newer_though_the_clock_stands_still_or_was_set_back(board: Board, second_ns: int) -> None:
    board.notes.post(JOB, NoteKind.SECRET, 1000, b"first")
    board.notes.post(JOB, NoteKind.SECRET, second_ns, b"second")

    assert board.token() == "second"
    assert len(board.notes.of(JOB)) == 2


def test_a_token_is_no_wish_to_cancel(board: Board) -> None:
    board.notes.post(JOB, NoteKind.SECRET, 1, b"x")
    assert board.notes.of(JOB, NoteKind.CANCEL) == []

    board.notes.post(JOB, NoteKind.CANCEL, 2)

    assert len(board.notes.of(JOB, NoteKind.CANCEL)) == 1
    assert board.token() == "x"


def test_a_note_is_private_and_nothing_is_left_aside(board: Board) -> None:
    mask = os.umask(0)
    try:
        board.notes.post(JOB, NoteKind.SECRET, 1, b"x")
    finally:
        os.umask(mask)

    assert [each.stat().st_mode & 0o777 for each in board.root.iterdir()] == [0o600]
    assert list(board.tmp.iterdir()) == []


def test_a_note_that_does_not_fit_on_the_disk_is_not_there(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, content: bytes) -> None:
        os.write(fd, content[:1])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("slidehook.jobs.files.durable._write_all", full)
    with pytest.raises(OSError, match="No space"):
        board.notes.post(JOB, NoteKind.SECRET, 1, b"secret")

    assert list(board.root.iterdir()) == []
    assert list(board.tmp.iterdir()) == []


def test_a_jobs_notes_go_with_it_and_others_stay(board: Board) -> None:
    board.notes.post(JOB, NoteKind.SECRET, 1, b"x")
    board.notes.post(JOB, NoteKind.CANCEL, 1)
    board.notes.post(OTHER, NoteKind.SECRET, 1, b"y")

    board.notes.drop(JOB)

    assert board.notes.of(JOB) == []
    assert board.token(OTHER) == "y"


def test_old_notes_of_jobs_that_are_gone_are_swept(board: Board) -> None:
    live = new_job_id(3)
    for job_id, now_ns in ((JOB, 10), (OTHER, 30), (live, 10)):
        board.notes.post(job_id, NoteKind.SECRET, now_ns, b"x")

    swept = list(board.notes.sweep(frozenset({live}), 20))

    assert [each.partition(".")[0] for each in swept] == [JOB]
    assert board.notes.of(JOB) == []
    assert len(board.notes.of(OTHER)) == len(board.notes.of(live)) == 1


@pytest.mark.parametrize("name", [".DS_Store", f"{JOB}.token", f"{JOB}.x.token", f"{JOB}.{1:016x}.token~", "a.b.c"])
def test_foreign_files_are_no_notes_and_stay(board: Board, name: str) -> None:
    (board.root / name).touch()
    board.notes.post(JOB, NoteKind.SECRET, 1, b"x")

    assert board.token() == "x"
    board.notes.drop(JOB)
    assert list(board.notes.sweep(frozenset(), 2**63)) == []
    assert [each.name for each in board.root.iterdir()] == [name]
