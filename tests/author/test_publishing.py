from __future__ import annotations

import pytest

from slidehook.app import App
from slidehook.dpat.iaapi.models import Item, Primitive, ResultRecord, Stored
from slidehook.dpat.marks import JOB_MARK
from slidehook.dpat.stored_result import ORANGE, RED, RecordMaker, frame_of, newest
from slidehook.errors import AppError
from slidehook.geometry import Frame, PixelPoint
from slidehook.jobs.job import Job
from slidehook.models import ImageInfo, Point, Size
from slidehook.result import Result


@pytest.fixture
def maker(app: App, job: Job, frame: Frame) -> RecordMaker:
    return RecordMaker(app, job, frame)


def only_item(record: ResultRecord) -> Item:
    assert isinstance(record.data.result, Primitive)
    (item,) = record.data.result.content
    return item


@pytest.mark.parametrize(
    ("percent", "shown"), [(0, 0), (49.6, 50), (100, 100), (-3, 0), (250, 100), (float("inf"), 100)]
)
def test_progress_is_a_frame_round_the_slide_with_its_percentage(
    maker: RecordMaker, percent: float, shown: int
) -> None:
    record = maker.in_progress(percent, "downloading")
    assert record.display_result == f"downloading, {shown} %"
    assert record.display_properties == {"Status": "downloading", "Progress (%)": shown}
    item = only_item(record)
    assert item.style is not None
    assert item.style.stroke_style == ORANGE
    # A slide of 2000 x 1000 ends at y = 0.5: both axes are divided by the width.
    assert item.polygons[0].points == [Point(x=0, y=0), Point(x=1, y=0), Point(x=1, y=0.5), Point(x=0, y=0.5)]
    assert [(each.location, each.label) for each in item.labels] == [(Point(x=0, y=0), f"downloading, {shown} %")]


def test_a_slide_whose_size_is_not_known_gets_the_text_alone(app: App, job: Job) -> None:
    item = only_item(RecordMaker(app, job, None).in_progress(5, "begun"))
    assert item.polygons == []
    assert item.labels[0].label == "begun, 5 %"


def test_a_failure_is_red_and_says_why(maker: RecordMaker) -> None:
    record = maker.failed("DPAT can't be reached.")
    assert record.display_result == "failed: DPAT can't be reached"
    assert "Progress (%)" not in record.display_properties
    item = only_item(record)
    assert item.style is not None
    assert item.style.stroke_style == RED
    assert item.labels[0].label == "failed: DPAT can't be reached"


def test_a_cancelled_job_says_so(maker: RecordMaker) -> None:
    assert maker.cancelled().display_properties == {"Status": "cancelled"}


def test_every_record_bears_the_slide_the_apps_version_and_the_users_context(
    maker: RecordMaker, app: App, job: Job, frame: Frame
) -> None:
    for record in (
        maker.in_progress(1, "x"), maker.failed("x"), maker.cancelled(), maker.done(Result("x"), frame)
    ):  # fmt: skip
        assert (record.slide_id, record.application_version) == ("S-1", app.version)
        assert record.data.context == {"mode": "fast", JOB_MARK: job.id}


def test_the_final_result_is_what_the_app_found_and_has_no_frame(maker: RecordMaker, frame: Frame) -> None:
    record = maker.done(Result("42", {"Answer": 42}).label(PixelPoint(1000, 500), "here"), frame)
    assert (record.display_result, record.display_properties) == ("42", {"Answer": 42})
    item = only_item(record)
    assert item.polygons == []
    assert item.labels[0].location == Point(x=0.5, y=0.25)


def test_pixels_are_counted_in_the_files_own_extent_not_in_the_records(maker: RecordMaker) -> None:
    record = maker.done(Result("x").label(PixelPoint(100, 100), "here"), Frame(1000, 800))
    assert only_item(record).labels[0].location == Point(x=0.1, y=0.1)


def test_a_result_without_shapes_is_an_empty_one(maker: RecordMaker, frame: Frame) -> None:
    record = maker.done(Result("nothing found"), frame)
    assert isinstance(record.data.result, Primitive)
    assert record.data.result.content == []


@pytest.mark.parametrize(
    "result",
    [
        Result("x").label(PixelPoint(float("nan"), 0), "t"),
        Result("x").polyline([PixelPoint(0, 0), PixelPoint(0, float("inf"))]),
        Result("x", {"Area": float("nan")}),
        Result("x", {"Areas": [1, 2]}),  # type: ignore[dict-item]
        Result(None),  # type: ignore[arg-type]
    ],
)
def test_a_result_that_can_not_be_sent_is_the_apps_fault(maker: RecordMaker, frame: Frame, result: Result) -> None:
    with pytest.raises(AppError, match="the app's result can't be sent to DPAT: "):
        maker.done(result, frame)


@pytest.mark.parametrize("size", [None, Size(width=0, height=5), Size(width=5, height=-1)])
def test_a_size_that_is_none_gives_no_frame(size: Size | None) -> None:
    assert frame_of(ImageInfo(id="S-1", image_size=size)) is None
    assert frame_of(None) is None


def test_the_newest_result_is_the_one_with_the_highest_number(maker: RecordMaker, frame: Frame) -> None:
    record = maker.done(Result("x"), frame).model_dump()
    results = [Stored.model_validate(record | {"id": each, "version_id": "v"}) for each in (9, 10, 2)]
    assert newest(results) is results[1]
    assert newest([]) is None
