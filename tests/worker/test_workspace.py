from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slidehook.errors import CannotStore
from worker.workspace import Workspace

JOB = "18e9f2fabeeb44cd-9f5e25c3"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, "work-host-1")


@pytest.fixture
def small_files_only() -> Iterator[None]:
    """Let no file grow beyond 4 KiB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.usefixtures("small_files_only")
def test_what_can_not_be_kept_whole_is_not_kept_at_all(workspace: Workspace) -> None:
    workspace.keep(JOB, "metadata.json", b"before")
    with pytest.raises(CannotStore, match=r"metadata\.json can't be stored on the host .+: File too large"):
        workspace.keep(JOB, "metadata.json", b"x" * 5000)
    (only,) = workspace.job_folder(JOB).iterdir()
    assert only.read_bytes() == b"before"


def test_a_data_dir_that_is_no_folder_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    workspace = Workspace(tmp_path / "file", "work-host-1")
    for use in (workspace.slide_folder, workspace.job_folder):
        with pytest.raises(CannotStore, match="Not a directory"):
            use(JOB)


def test_a_slide_folder_is_empty_each_time(workspace: Workspace) -> None:
    (workspace.slide_folder(JOB) / "half.part").write_bytes(b"x")
    assert list(workspace.slide_folder(JOB).iterdir()) == []
    workspace.drop_slide(JOB)
    workspace.leave()
    assert not list(workspace.job_folder(JOB).parent.parent.glob("slides/*"))


def test_several_workers_remove_the_same_old_data_at_once(tmp_path: Path) -> None:
    for number in range(2000):
        folder = tmp_path / "jobs" / f"job-{number}"
        folder.mkdir(parents=True)
        os.utime(folder, (0, 0))
    program = (
        "import sys; from pathlib import Path; from worker.workspace import Workspace;"
        "print('ready', flush=True); sys.stdin.readline(); Workspace(Path(sys.argv[1]), sys.argv[2]).drop_old(7)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    workers = [
        subprocess.Popen([*command, f"work-{number}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    for each in workers:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in workers:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    for each in workers:
        each.communicate()
    assert [each.returncode for each in workers] == [0, 0, 0]
    assert list((tmp_path / "jobs").iterdir()) == []
