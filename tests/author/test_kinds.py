"""The tables of the kinds of finding; a kind made up here goes all the way that a built-in one goes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slidehook import App, PixelPoint, Result
from slidehook.dpat import changes
from slidehook.dpat import kinds as dpat_kinds
from slidehook.dpat.iaapi.models import Label, Primitive, StoredResult
from slidehook.dpat.kinds import ItemList, Place
from slidehook.dpat.stored_result import RecordMaker
from slidehook.errors import AppError
from slidehook.geometry import Frame
from slidehook.jobs.job import Job
from slidehook.models import Polygon
from slidehook.results import kinds, sanitize
from slidehook.results.canvas import Canvas
from slidehook.results.checks import above_0, all_of, checked_point, copied
from slidehook.results.features import Feature, FeatureWriter
from slidehook.results.geojson import geojson_of
from slidehook.results.picture import draw_result

RED = "#FF0000"
WHITE = (255, 255, 255)
LINE = [PixelPoint(0, 0), PixelPoint(2000, 0)]
FIRST, SECOND = PixelPoint(500, 500), PixelPoint(1500, 750)


@dataclass(frozen=True)
class Cross:
    """A red cross; its arms are `arm_px` level-0 pixels long."""

    at: PixelPoint
    arm_px: float

    @property
    def ends(self) -> list[PixelPoint]:
        """The ends of the arms."""
        x, y, arm = self.at.x, self.at.y, self.arm_px
        return [PixelPoint(x - arm, y), PixelPoint(x + arm, y), PixelPoint(x, y - arm), PixelPoint(x, y + arm)]

    @property
    def line(self) -> list[PixelPoint]:
        """One line along all arms."""
        return [point for end in self.ends for point in (end, self.at)]


@dataclass
class MarkedResult(Result):
    """A result with the made-up kind."""

    crosses: list[Cross] = field(default_factory=list)


class Crosses(kinds.Kind):
    """Cleans, writes and draws crosses."""

    field = "crosses"

    def clean(self, result: Result) -> list[Cross]:
        return [
            copied(Cross, each, f"crosses.{number}", at=checked_point(each.at, f"crosses.{number}.at"),
                   arm_px=above_0(each.arm_px, f"crosses.{number}.arm_px"))
            for number, each in enumerate(all_of(crosses_of(result), Cross, "crosses"))
        ]  # fmt: skip

    def features(self, result: Result, writer: FeatureWriter) -> Iterable[Feature]:
        of_class = writer.class_of("cross", RED)
        return [writer.point(each.at, kind="annotation", of_class=of_class) for each in crosses_of(result)]

    def draw(self, result: Result, canvas: Canvas) -> None:
        for each in crosses_of(result):
            canvas.line(each.line, RED, closed=False)


class CrossesInDpat(dpat_kinds.ItemKind):
    """Stores crosses as lines: every second of 8 points is the centre."""

    field = "crosses"

    def to_item(self, value: Cross, place: Place) -> tuple[str, ItemList, Polygon | Label]:
        return RED, "polylines", Polygon(points=[place(each) for each in value.line])

    def from_item(self, items: ItemList, record: Any, colour: str, frame: Frame) -> Cross | None:
        if items != "polylines" or len(record.points) != 8 or len(set(map(str, record.points[1::2]))) > 1:
            return None
        end, centre = frame.to_pixel(record.points[0]), frame.to_pixel(record.points[1])
        return Cross(centre, centre.x - end.x)


def crosses_of(result: Result) -> Sequence[Cross]:
    assert isinstance(result, MarkedResult)
    return result.crosses


@pytest.fixture
def _made_up_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add what a new kind adds: a field of Result, and a line in each of the two tables."""
    monkeypatch.setattr(sanitize, "Result", MarkedResult)
    monkeypatch.setattr(changes, "Result", MarkedResult)
    monkeypatch.setattr(kinds, "KINDS", (*kinds.KINDS, Crosses()))
    monkeypatch.setattr(dpat_kinds, "KINDS", (CrossesInDpat(), *dpat_kinds.KINDS))


@pytest.fixture
def result() -> MarkedResult:
    marked = MarkedResult("2 crosses", crosses=[Cross(FIRST, 250), Cross(SECOND, 125)])
    marked.polyline(LINE, colour="#00FF00")
    return marked


def stored(result: Result, app: App, job: Job, frame: Frame) -> StoredResult:
    record = RecordMaker(app, job, frame).done(result, frame)
    return StoredResult.model_validate({**record.to_wire(), "id": 7, "versionId": 1})


@pytest.mark.parametrize("table", [kinds.KINDS, dpat_kinds.KINDS])
def test_each_table_has_every_field_of_a_result_once(
    table: Sequence[kinds.Kind] | Sequence[dpat_kinds.DpatKind],
) -> None:
    assert [each.field for each in table] == [each.name for each in fields(Result)]


@pytest.mark.usefixtures("_made_up_kind")
def test_a_made_up_kind_is_cleaned() -> None:
    number: Any = np.int64(250)
    odd = Cross(PixelPoint(*np.array([500, 500], np.float32)), number)
    copy = sanitize.sanitize_result(MarkedResult("x", crosses=[odd]))
    assert copy == MarkedResult("x", crosses=[Cross(FIRST, 250)])
    assert type(crosses_of(copy)[0].arm_px) is int
    with pytest.raises(AppError, match=r"crosses\.1\.arm_px must be a number above 0, not 0"):
        sanitize.sanitize_result(MarkedResult("x", crosses=[Cross(FIRST, 1), Cross(FIRST, 0)]))


@pytest.mark.usefixtures("_made_up_kind")
def test_a_made_up_kind_is_published_and_read_back(result: MarkedResult, app: App, job: Job, frame: Frame) -> None:
    record = stored(result, app, job, frame)
    assert isinstance(record.data.result, Primitive)
    lines = {item.style.stroke_style: len(item.polylines) for item in record.data.result.content if item.style}
    assert lines == {RED: 2, "#00FF00": 1}
    assert changes.result_of(record, frame) == result


@pytest.mark.usefixtures("_made_up_kind")
def test_a_made_up_kind_is_changed_by_the_app(result: MarkedResult, app: App, job: Job, frame: Frame) -> None:
    record = stored(result, app, job, frame)
    answer = MarkedResult("x", shapes=result.shapes, crosses=[result.crosses[1], Cross(FIRST, 125)])
    changed = changes.apply_answer(record, answer, frame, application_version="2")
    assert changes.result_of(changed, frame) == answer
    assert isinstance(record.data.result, Primitive)
    assert isinstance(changed.data.result, Primitive)
    assert changed.data.result.content[0].polylines == record.data.result.content[0].polylines[1:]


@pytest.mark.usefixtures("_made_up_kind")
def test_a_made_up_kind_is_drawn(result: MarkedResult, frame: Frame) -> None:
    picture = draw_result(Image.new("RGB", (400, 200), WHITE), result, frame)
    for place in ((100, 100), (60, 100), (100, 140), (300, 150), (300, 130)):
        assert picture.getpixel(place) == (255, 0, 0)
    assert picture.getpixel((200, 100)) == WHITE


@pytest.mark.usefixtures("_made_up_kind")
def test_a_made_up_kind_is_in_the_geojson(result: MarkedResult) -> None:
    features = json.loads(geojson_of(result, "app"))["features"]
    places = [each["geometry"]["coordinates"] for each in features if each["geometry"]["type"] == "Point"]
    assert places == [[500, 500], [1500, 750]]
