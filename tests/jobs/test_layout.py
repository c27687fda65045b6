"""A queue directory: made, found, refused."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Barrier, Thread

import pytest

from slidehook.errors import QueueError
from slidehook.jobs.files.layout import FOLDERS, VERSION, Layout
from slidehook.jobs.files.names import JobName
from slidehook.jobs.job import JobState, new_job_id

NAMES = [JobName(JobState.ACTIVE, new_job_id(age), 5, "nuclei", 1, "work-host-1") for age in (3, 1, 2)]


def test_a_missing_directory_is_made_with_all_its_folders(tmp_path: Path) -> None:
    Layout(tmp_path / "deep" / "down" / "my queue é")

    made = tmp_path / "deep" / "down" / "my queue é"
    assert {each.name for each in made.iterdir()} == {*FOLDERS, "FORMAT"}
    assert (made / "FORMAT").read_bytes() == VERSION


def test_every_state_of_a_job_on_disk_has_its_folder(tmp_path: Path) -> None:
    layout = Layout(tmp_path)

    for state in set(JobState) - {JobState.WITHDRAWN}:
        assert Path(layout.folder(state)).is_dir()


def test_what_is_made_is_private_whatever_the_mask(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        Layout(tmp_path / "queue")
    finally:
        os.umask(mask)

    modes = {each.name: each.stat().st_mode & 0o777 for each in (tmp_path / "queue").iterdir()}
    assert modes == dict.fromkeys(FOLDERS, 0o700) | {"FORMAT": 0o600}


def test_a_directory_is_opened_again_and_missing_folders_are_made(tmp_path: Path) -> None:
    Layout(tmp_path)
    (tmp_path / "notes").rmdir()
    (tmp_path / "waiting" / "keep").touch()

    Layout(tmp_path)

    assert (tmp_path / "notes").is_dir()
    assert (tmp_path / "waiting" / "keep").exists()


def test_many_processes_may_make_a_directory_at_once(tmp_path: Path) -> None:
    start = Barrier(8)
    made: list[Layout] = []

    def make() -> None:
        start.wait()
        made.append(Layout(tmp_path / "queue"))

    threads = [Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 8
    assert (tmp_path / "queue" / "FORMAT").read_bytes() == VERSION


@pytest.mark.parametrize("mark", [b"slidehook queue 2\n", b"slidehook queue 0\n", b"\xff\xfe", b"x" * 1000])
def test_a_queue_of_another_version_is_refused_and_left_alone(tmp_path: Path, mark: bytes) -> None:
    (tmp_path / "FORMAT").write_bytes(mark)

    with pytest.raises(QueueError, match="holds a queue of another version") as caught:
        Layout(tmp_path)

    assert len(str(caught.value)) < len(str(tmp_path)) + 250
    assert [each.name for each in tmp_path.iterdir()] == ["FORMAT"]
    assert (tmp_path / "FORMAT").read_bytes() == mark


def test_a_mark_that_another_process_is_writing_is_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "FORMAT").touch()

    assert Layout(tmp_path).root == tmp_path


@pytest.mark.parametrize("blocked", ["", "FORMAT", "active"])
def test_something_else_in_the_way_is_told_with_the_directorys_name(tmp_path: Path, blocked: str) -> None:
    root = tmp_path / "queue"
    if blocked == "FORMAT":
        (root / blocked).mkdir(parents=True)
    elif blocked:
        root.mkdir()
        (root / blocked).touch()
    else:
        root.touch()

    with pytest.raises(QueueError, match=r"queue directory .*queue can't be used: \w+"):
        Layout(root)


def test_jobs_are_listed_in_order_and_foreign_files_passed_over(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    for name in NAMES:
        Path(layout.path(name)).touch()
    (tmp_path / "active" / ".DS_Store").touch()
    (tmp_path / "active" / "lost+found").mkdir()

    assert list(layout.names(JobState.ACTIVE)) == sorted(NAMES, key=str)


def test_ended_jobs_are_listed_newest_day_first_and_foreign_files_passed_over(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    ids = [new_job_id(age) for age in (1, 2, 3)]
    for job_id, day in zip(ids, ("2031-12-31", "2031-12-31", "2030-01-01"), strict=True):
        (tmp_path / "done" / day).mkdir(exist_ok=True)
        (tmp_path / "done" / day / f"{job_id}.p5.nuclei.a1").touch()
    (tmp_path / "done" / ".DS_Store").touch()
    (tmp_path / "done" / "2031-12-31" / ".DS_Store").touch()
    (tmp_path / "done" / "lost+found").mkdir()

    listed = list(layout.ended(JobState.DONE))

    assert [name.job_id for _, name in listed] == [ids[1], ids[0], ids[2]]
    assert all(Path(path).is_file() for path, _ in listed)
