"""Where slides come from."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from openslide import OpenSlide

from slidehook.disk import Room
from slidehook.errors import AccessExpired, ClaimLost, Gone, Refused, SlidehookError, SystemUnavailable
from slidehook.pixels.file_pixels import FilePixels
from slidehook.pixels.source import Box
from slidehook.settings import Settings
from slidehook.slide import find_slide_file
from slidehook.systems import Access, OneSecret, Systems
from tests.systems.contract.backends import SLIDE, Backend, origin

NO_LIMIT = Room.keeping(0)


def fetched(backend: Backend, tmp_path: Path, slide_id: str = SLIDE) -> list[Path]:
    def make_folder() -> Path:
        folder = tmp_path / "fetched"
        folder.mkdir()
        return folder

    return origin(backend, slide_id).files(make_folder, lambda *_: None, room=NO_LIMIT)


def test_the_record_states_the_slides_id_and_size(backend: Backend, sample_slides: Path) -> None:
    info = origin(backend).info()
    assert info.id == SLIDE
    with OpenSlide(sample_slides / f"{SLIDE}.tiff") as slide:
        assert info.image_size is not None
        assert (info.image_size.width, info.image_size.height) == slide.dimensions


def test_the_record_identifies_nobody(backend: Backend) -> None:
    info = origin(backend).info()
    assert info == info.without_phi()


def test_the_files_are_complete_and_in_one_folder(backend: Backend, sample_slides: Path, tmp_path: Path) -> None:
    files = fetched(backend, tmp_path)
    assert {each.parent for each in files} == {files[0].parent}
    found = find_slide_file(files[0].parent)
    assert found.read_bytes() == (sample_slides / f"{SLIDE}.tiff").read_bytes()


def test_an_overview_is_rgb_and_shaped_as_the_slide(backend: Backend) -> None:
    slide = origin(backend)
    info = slide.info()
    picture = slide.overview(info)
    assert picture is not None
    assert picture.mode == "RGB"
    assert info.image_size is not None
    assert picture.width / picture.height == pytest.approx(info.image_size.width / info.image_size.height, rel=0.1)


def test_pixels_without_files_are_those_of_the_file(backend: Backend, sample_slides: Path) -> None:
    slide = origin(backend)
    info = slide.info()
    assert slide.no_tiles(info) == ""
    pixels = slide.pixels(info)
    box = Box(100, 100, 400, 300)
    with OpenSlide(sample_slides / f"{SLIDE}.tiff") as opened:
        expected = FilePixels(opened).read(box, 200, 150)
    read = pixels.read(box, 200, 150)
    pixels.close()
    assert read.shape == expected.shape
    assert np.abs(read.astype(int) - expected).mean() < 3  # tiles may be JPEG


def test_a_ticket_is_small_and_opens_the_same_slide_elsewhere(remote: Backend) -> None:
    secret = remote.secret()
    ticket = remote.system.origin(remote.ticket(), Access(OneSecret(secret))).for_child()
    content = pickle.dumps(ticket)
    assert len(content) < 1000
    assert secret.encode() not in content
    assert pickle.loads(content) == ticket  # noqa: S301 - its own


def test_the_ticket_opens_the_slide_that_it_is_of(backend: Backend) -> None:
    slide = origin(backend)
    ticket = slide.for_child()
    elsewhere = Systems(Settings(_env_file=None))[ticket.system].origin(ticket, Access(OneSecret(backend.secret())))
    assert elsewhere.info() == slide.info()


def test_a_slide_that_is_not_there_is_gone(backend: Backend, tmp_path: Path) -> None:
    with pytest.raises(Gone):
        origin(backend, "no-such-slide").info()
    with pytest.raises(Gone):
        fetched(backend, tmp_path, "no-such-slide")


@pytest.mark.parametrize("kind", [SystemUnavailable, AccessExpired, Gone, Refused])
def test_a_fault_is_one_of_four(remote: Backend, kind: type[SlidehookError]) -> None:
    slide = origin(remote)
    remote.fail(kind)
    with pytest.raises(kind):
        slide.info()


def test_whether_to_try_again_stands_on_the_class(remote: Backend) -> None:
    slide = origin(remote)
    remote.fail(SystemUnavailable)
    with pytest.raises(SlidehookError) as told:
        slide.info()
    assert told.value.retryable


def test_a_newer_secret_takes_the_place_of_a_refused_one(remote: Backend) -> None:
    newest = remote.secret()

    class Two:
        def secret(self) -> str:
            return "long expired"

        def instead_of(self, refused: str) -> str | None:
            return newest if refused == "long expired" else None

    assert remote.system.origin(remote.ticket(), Access(Two())).info().id == SLIDE


def test_without_a_secret_access_has_expired(remote: Backend) -> None:
    with pytest.raises(AccessExpired):
        remote.system.origin(remote.ticket(), Access()).info()
    with pytest.raises(AccessExpired):
        remote.system.origin(remote.ticket(), Access(OneSecret("wrong"))).info()


def test_no_call_is_made_unless_the_check_lets_it(backend: Backend) -> None:
    def check() -> None:
        raise ClaimLost("another worker's")

    slide = origin(backend, check=check)
    before = backend.calls()
    with pytest.raises(ClaimLost):
        slide.info()
    assert backend.calls() == before


def test_a_download_ends_with_what_the_caller_raises(sample_slides: Path, remote: Backend, tmp_path: Path) -> None:
    del sample_slides

    class Stopped(Exception):
        pass

    def make_folder() -> Path:
        folder = tmp_path / "part"
        folder.mkdir()
        return folder

    def received(done: int, total: int | None) -> None:
        del done, total
        raise Stopped

    slide = origin(remote)
    if slide.is_at_hand:
        assert slide.files(make_folder, received, room=NO_LIMIT)  # nothing is downloaded
        return
    with pytest.raises(Stopped):
        slide.files(make_folder, received, room=NO_LIMIT)
