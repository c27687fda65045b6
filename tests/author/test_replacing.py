from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slidehook.private import ASIDE_AGE_S, drop_asides, replace_private, replacing


@pytest.mark.parametrize("fsync", [False, True])
def test_a_file_is_replaced_whole_and_private_whatever_the_umask(tmp_path: Path, fsync: bool) -> None:
    path = tmp_path / "kept.json"
    path.write_bytes(b"old")
    before = os.umask(0o777)
    try:
        replace_private(path, b"new", fsync=fsync)
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"ne")
        file.flush()
        assert path.read_bytes() == b"old"
        file.write(b"w")
    assert path.read_bytes() == b"new"


def test_what_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_bytes(b"old")

    def write_half() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_can_not_be_taken_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "taken" / "by").mkdir(parents=True)
    with pytest.raises(OSError, match="taken"):
        replace_private(tmp_path / "taken", b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["taken"]


def test_a_name_may_be_as_long_as_a_file_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    replace_private(path, b"new")
    assert path.read_bytes() == b"new"


def test_only_the_files_that_a_dead_process_half_wrote_are_dropped(tmp_path: Path) -> None:
    script = "import os, sys; from pathlib import Path; from slidehook.private import replacing\n"
    script += "with replacing(Path(sys.argv[1])) as file: os.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "result.json")], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    [left] = tmp_path.iterdir()
    with replacing(tmp_path / "other.json") as file:
        [living] = set(tmp_path.iterdir()) - {left}
        file.write(b"whole")
        drop_asides(tmp_path)
        assert left.exists(), "a file as new as that may be about to take its place"
        for each in (left, living):
            os.utime(each, (time.time() - 2 * ASIDE_AGE_S,) * 2)
        drop_asides(tmp_path)
        assert not left.exists()
        assert living.exists()
    assert (tmp_path / "other.json").read_bytes() == b"whole"
