from __future__ import annotations

import resource
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
