from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from slidehook.demo.processes import DemoProcesses
from slidehook.dpat.iaapi.put_only_servers import PutOnlyServer
from slidehook.jobs.files.layout import Layout
from slidehook.private import private_folder, write_private
from slidehook.running.app_process import left_behind
from slidehook.running.orphans import Marked
from slidehook.settings import Settings
from slidehook.simulator.dicom_sample import make_dicom
from webserver.result_versions import ResultVersions
from worker.workspace import Workspace


@pytest.fixture(params=[0, 0o022, 0o077, 0o777], ids=oct)
def mask(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
    """Each umask that somebody may have; the test's own folder is made before, under the usual one."""
    before = os.umask(request.param)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.usefixtures("mask")
def test_a_folder_and_its_parents_are_private_whatever_the_mask(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b" / "c"
    private_folder(folder)
    assert {mode(each) for each in (folder, *folder.parents[:2])} == {0o700}
    private_folder(folder)


@pytest.mark.usefixtures("mask")
def test_a_file_is_private_whatever_the_mask_and_whatever_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_private(path, b"first, and longer")
    path.chmod(0o644)
    write_private(path, b"second")
    assert (mode(path), path.read_bytes()) == (0o600, b"second")


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o750)
    private_folder(tmp_path / "shared" / "new")
    private_folder(tmp_path / "shared")
    assert (mode(tmp_path / "shared"), mode(tmp_path / "shared" / "new")) == (0o750, 0o700)


def test_what_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        private_folder(tmp_path / "file")
    with pytest.raises(NotADirectoryError):
        private_folder(tmp_path / "file" / "below")


def test_a_link_to_a_folder_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    private_folder(tmp_path / "link" / "below")
    assert mode(tmp_path / "real" / "below") == 0o700


@pytest.mark.parametrize("mask", [0, 0o277], indirect=True)
@pytest.mark.usefixtures("mask")
def test_all_that_slidehook_makes_is_private_with_its_parents(tmp_path: Path) -> None:
    top = tmp_path / "top"
    Layout(top / "share" / "queue")
    workspace = Workspace(top / "local" / "data", "claimer")
    workspace.check()
    workspace.keep("job", "info.json", b"{}")
    workspace.slide_folder("job")
    Marked(left_behind(Settings(_env_file=None, data_dir=top / "elsewhere" / "data")), 1)
    PutOnlyServer("http://127.0.0.1", top / "third" / "data").remember()
    ResultVersions(top / "fourth" / "versions").save("http://127.0.0.1", "app", {"id": 1, "versionId": 1})
    DemoProcesses(top / "demo")
    paths = list(top.rglob("*"))
    folders = [top, *(each for each in paths if each.is_dir())]
    assert len(folders) > 20
    assert {mode(each) for each in folders} == {0o700}
    assert [each for each in paths if each.is_file() and mode(each) | 0o600 != 0o600] == []


# pydicom opens what it has made once more, so the files' owner must be left the right to read and write.
@pytest.mark.parametrize("mask", [0, 0o177], indirect=True)
@pytest.mark.usefixtures("mask")
def test_the_folders_of_a_sample_slide_are_private(tmp_path: Path) -> None:
    top = tmp_path / "top"
    make_dicom(top / "dicom" / "slide", width=300, height=300)
    assert {mode(each) for each in (top, *top.rglob("*")) if each.is_dir()} == {0o700}
    assert len(list(top.rglob("*.dcm"))) > 1
