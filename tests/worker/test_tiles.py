"""What an app's child tells the worker when DPAT gives no tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from slidehook.apps.wholeslide import WholeSlideDemo
from slidehook.dpat.errors import DpatUnavailable, NotFound, TokenExpired
from slidehook.dpat.pixels import why_no_tiles
from slidehook.errors import SlidehookError
from slidehook.models import ImageInfo, Size
from slidehook.running.app_process import AppProcess
from slidehook.running.fetched_slide import needs_files
from slidehook.running.task import Task
from slidehook.settings import Settings
from slidehook.systems import OriginTicket
from tests.iaapi.little_dpat import LittleDpat, Reply
from tests.packages import install

APPS = """
from slidehook import App, Result

class Reader(App):
    id = "reader"
    name = "Reader"
    needs = ("tiles",)

    def analyze(self, slide, progress):
        return Result(f"{slide.read(0, 0, 256, 256, mpp=0.5).mean():.0f}, {slide.path}")
"""
INFO = ImageInfo(
    id="S-1",
    image_size=Size(width=2000, height=1000),
    tile_size=Size(width=256, height=256),
    microns_per_pixel=0.5,
)
TILE = "/images/S-1_files/11/0_0.jpg"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, settings: Settings) -> Iterator[AppProcess]:
    folder = install(tmp_path_factory.mktemp("site-packages"), "reading", APPS, {"reader": "Reader"})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        process = AppProcess(settings)
        yield process
        process.kill()


def read(process: AppProcess, dpat: LittleDpat, another: Callable[[str], str | None] = lambda _: None) -> str:
    task = Task(
        "reader", None, INFO, None, origin=OriginTicket("dpat", dpat.url, INFO.id, "an-app"), secret="the-token"
    )
    found = process.analyse(task, timeout_s=200, progress=lambda *_: None, tick=lambda: None, another_token=another)
    return found.result.text


@pytest.mark.parametrize(
    ("reply", "error", "retryable"),
    [
        (Reply(503, headers={"Retry-After": "90"}), DpatUnavailable, True),
        (Reply(401), TokenExpired, False),
        (Reply(404), NotFound, False),
    ],
)
def test_what_dpat_refuses_reaches_the_worker_as_what_it_is(
    process: AppProcess, dpat: LittleDpat, reply: Reply, error: type[SlidehookError], retryable: bool
) -> None:
    dpat.answer("GET", TILE, reply)
    with pytest.raises(error) as caught:
        read(process, dpat)
    assert type(caught.value) is error
    assert caught.value.retryable is retryable
    if isinstance(caught.value, DpatUnavailable):
        assert caught.value.retry_after_s == 90


def test_another_token_goes_on_where_one_has_expired(process: AppProcess, dpat: LittleDpat) -> None:
    dpat.answer("GET", TILE, Reply(401), Reply(404))
    refused: list[str] = []

    def another(token: str) -> str:
        refused.append(token)
        return "another"

    with pytest.raises(NotFound):
        read(process, dpat, another)
    assert refused == ["the-token"]
    assert [call.headers["Authorization"] for call in dpat.calls] == ["Bearer the-token", "Bearer another"]


@pytest.mark.parametrize(
    ("needs", "change", "wanted"),
    [
        ({"tiles"}, {}, False),
        ({"tiles"}, {"is_streamable": False}, True),
        ({"tiles"}, {"image_size": None}, True),
        ({"tiles"}, {"tile_size": None}, True),
        ({"tiles", "files"}, {}, True),
        ({"thumbnail"}, {"is_streamable": False}, False),
    ],
)
def test_a_slide_is_downloaded_where_its_files_are_needed_or_dpat_has_no_tiles(
    needs: set[str], change: dict[str, object], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WholeSlideDemo, "needs", frozenset(needs))
    has_tiles = not why_no_tiles(INFO.model_copy(update=change))
    assert needs_files(WholeSlideDemo(), has_tiles=has_tiles) is wanted
