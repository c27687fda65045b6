from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from slidehook import PixelPoint, Quality, Result
from slidehook.geometry import Frame
from slidehook.models import ImageInfo
from slidehook.result import Button, Gallery
from slidehook.running.dependency_cache import DependencyCache, dependency_key
from slidehook.running.task import Analysis
from tests.author.sample_apps import Good
from worker.workspace import Workspace


@pytest.fixture
def found() -> Analysis:
    corners = [PixelPoint(0.1, 2), PixelPoint(1e6, 3), PixelPoint(7, 8)]
    result = Result("text", {"Number": 1, "Part": 0.5, "Words": "a µ"}).polygon(corners, colour="#123456")
    result.polyline(corners[:2]).label(corners[0], "here")
    result.gallery = Gallery(["a"], buttons=[Button("b", "B")]).add("a", corners[2], sort_key=3)
    result.quality = Quality.REJECTED
    return Analysis(result, Frame(2000, 1000), 0.25)


def test_what_was_found_comes_back_as_it_was(tmp_path: Path, found: Analysis) -> None:
    DependencyCache(tmp_path / "new" / "outputs").keep("k", found)
    assert DependencyCache(tmp_path / "new" / "outputs").find("k") == found
    assert DependencyCache(tmp_path / "new" / "outputs").find("other") is None
    assert [path.name for path in (tmp_path / "new" / "outputs").iterdir()] == ["k.json"]


def test_what_is_older_than_wanted_or_no_longer_whole_is_not_there(tmp_path: Path, found: Analysis) -> None:
    dependency_cache = DependencyCache(tmp_path)
    dependency_cache.keep("k", found)
    assert dependency_cache.find("k", since=time.time() - 60) == found
    assert dependency_cache.find("k", since=time.time() + 60) is None
    (tmp_path / "k.json").write_text('{"result": {"text": "half a')
    assert dependency_cache.find("k") is None


def test_it_goes_with_the_other_small_data_of_its_time(tmp_path: Path, found: Analysis) -> None:
    workspace = Workspace(tmp_path, "me")
    workspace.drop_old(7)
    for key in ("old", "new"):
        workspace.dependency_cache.keep(key, found)
    long_ago = time.time() - 8 * 86400
    os.utime(tmp_path / "outputs" / "old.json", (long_ago, long_ago))
    workspace.drop_old(7)
    assert workspace.dependency_cache.find("old") is None
    assert workspace.dependency_cache.find("new") == found


def test_a_disk_that_takes_nothing_costs_no_result(
    tmp_path: Path, found: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A new one: the module's own, once used, stays with how logging was set up then.
    monkeypatch.setattr("slidehook.running.dependency_cache.log", structlog.get_logger())
    (tmp_path / "outputs").write_text("a file where the folder belongs")
    with capture_logs() as logged:
        DependencyCache(tmp_path / "outputs").keep("k", found)
    assert "not kept for other apps" in logged[0]["event"]
    assert DependencyCache(tmp_path / "outputs").find("k") is None
    DependencyCache(tmp_path / "outputs").drop_old(time.time())


def test_a_changed_file_of_an_app_makes_another_key(tmp_path: Path) -> None:
    model = tmp_path / "model"

    class Rested(Good):
        id = "rested"

        def files(self) -> tuple[Path]:
            return (model,)

    def key() -> str:
        return dependency_key("http://127.0.0.1/v1", ImageInfo(id="S-1"), [Rested()])

    without = key()
    model.write_bytes(b"one")
    with_one = key()
    assert key() == with_one != without
    model.write_bytes(b"another")
    assert key() not in {with_one, without}
