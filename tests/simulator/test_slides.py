from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from slidehook.simulator.errors import NotFound, SlideDamaged
from slidehook.simulator.image_records import ImageRecords
from slidehook.simulator.pictures import Pictures
from slidehook.simulator.samples import make_tiff
from slidehook.simulator.slides import SlideFolder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_tiff(tmp_path / "one.tiff", width=700, height=500)
    return tmp_path


def test_files_and_folders_are_slides_with_their_names(sample_slides: Path) -> None:
    slides = SlideFolder(sample_slides).all()
    assert [slide.id for slide in slides] == ["immuno", "immuno-dicom"]
    assert [file.name for file in slides[0].files] == ["immuno.tiff"]
    assert len(slides[1].files) == 4


def test_a_slide_copied_to_the_folder_appears_at_once(folder: Path) -> None:
    slides = SlideFolder(folder)
    with pytest.raises(NotFound):
        slides.get("two")
    (folder / "one.tiff").rename(folder / "two.tiff")
    assert slides.get("two").id == "two"
    assert not slides.exists("one")


def test_a_file_becomes_a_slide_once_it_is_complete(folder: Path) -> None:
    content = (folder / "one.tiff").read_bytes()
    (folder / "late.tiff").write_bytes(content[:4])
    slides = SlideFolder(folder)
    assert not slides.exists("late")
    (folder / "late.tiff").write_bytes(content)
    assert slides.exists("late")


def test_the_json_file_of_a_slide_overrides_its_record(folder: Path) -> None:
    beside = {"isStreamable": False, "micronsPerPixel": None, "id": "other", "accessionNumber": "A"}
    (folder / "one.json").write_text(json.dumps(beside))
    records = ImageRecords(Pictures())
    slide = SlideFolder(folder).get("one")
    record = records.record(slide, phi=False)
    assert record["id"] == "one"
    assert record["isStreamable"] is False
    assert record["micronsPerPixel"] is None
    assert "accessionNumber" not in record
    assert records.record(slide, phi=True)["accessionNumber"] == "A"


@pytest.mark.parametrize("text", ["{", "[]", '{"imageSize": 3}'])
def test_an_invalid_json_file_of_a_slide_is_named(folder: Path, text: str) -> None:
    (folder / "one.json").write_text(text)
    with pytest.raises(SlideDamaged, match=r"one\.json"):
        ImageRecords(Pictures()).record(SlideFolder(folder).get("one"), phi=False)


def test_a_slide_replaced_on_disk_is_reopened(folder: Path) -> None:
    pictures, slides = Pictures(), SlideFolder(folder)
    assert pictures.opened(slides.get("one")).image.dimensions == (700, 500)
    make_tiff(folder / "one.tiff", width=600, height=500)
    assert pictures.opened(slides.get("one")).image.dimensions == (600, 500)


def test_a_slide_without_a_label_returns_none(folder: Path) -> None:
    assert Pictures().label(SlideFolder(folder).get("one")) is None


def test_the_label_inside_a_slide_is_used_without_a_label_file(sample_slides: Path, tmp_path: Path) -> None:
    shutil.copytree(sample_slides / "immuno-dicom", tmp_path / "d")
    label = Pictures().label(SlideFolder(tmp_path).get("d"))
    assert label is not None
    assert label.startswith(b"\xff\xd8")
