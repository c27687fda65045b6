"""The one result that an analysis has on a slide: in progress, failed or done, always updated in place."""

from __future__ import annotations

import contextlib

from pydantic import ValidationError

from slidehook.app import App, WholeSlide
from slidehook.errors import AppError, NotFound
from slidehook.geometry import Frame
from slidehook.iaapi.client import DpatClient
from slidehook.iaapi.models import (
    ImageInfo,
    Item,
    Label,
    Point,
    Polygon,
    Primitive,
    ResultData,
    ResultRecord,
    Stored,
    Style,
)
from slidehook.jobs.job import Job, JobRecord
from slidehook.result import Result

ORANGE = "#FF8C00"
RED = "#D13438"
QUEUED = "analysis queued"
CANCELLED = "cancelled"


def frame_of(info: ImageInfo | None) -> Frame | None:
    """Give the slide's extent as its record says; None when the record does not say it."""
    size = info.image_size if info else None
    return Frame(size.width, size.height) if size and size.width > 0 and size.height > 0 else None


class RecordMaker:
    """Makes the records that show one job on its slide."""

    def __init__(self, app: App, job: Job, frame: Frame | None) -> None:
        self._app = app
        self._job = job
        self.frame = frame

    def in_progress(self, percent: float, text: str) -> ResultRecord:
        """Make the orange frame round the whole slide, with the text and the percentage at its top."""
        shown = round(max(0, min(100, percent)))
        properties: dict[str, str | int | float | None] = {"Status": text, "Progress (%)": shown}
        return self._record(f"{text}, {shown} %", properties, self._framed(ORANGE, f"{text}, {shown} %"))

    def failed(self, reason: str) -> ResultRecord:
        """Make the red frame that says why there is no result."""
        text = f"failed: {reason.rstrip('.')}"
        return self._record(text, {"Status": text}, self._framed(RED, text))

    def cancelled(self) -> ResultRecord:
        """Make the frame that says that somebody stopped the analysis."""
        return self._record(CANCELLED, {"Status": CANCELLED}, self._framed(ORANGE, CANCELLED))

    def done(self, result: Result, frame: Frame) -> ResultRecord:
        """Make what the app found; `frame` is the slide's extent that its pixels were counted in.

        Raises AppError when a result can't be made of it, such as of coordinates that are no numbers.
        """
        try:
            return self._record(result.text, {**result.properties}, items_of(result, frame))
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part) for part in fault["loc"])
            raise AppError(f"the app's result can't be sent to DPAT: {where}: {fault['msg']}") from error

    def _framed(self, colour: str, text: str) -> list[Item]:
        style = Style(stroke_style=colour, size=3)
        label = Label(location=Point(x=0, y=0), label=text)
        if self.frame is None:
            return [Item(style=style, labels=[label])]
        corners = self.frame.points(self.frame.rectangle(0, 0, 1, 1))
        return [Item(style=style, polygons=[Polygon(points=corners)], labels=[label])]

    def _record(self, text: str, properties: dict[str, str | int | float | None], items: list[Item]) -> ResultRecord:
        return ResultRecord(
            slide_id=self._job.slide_id,
            display_result=text,
            display_properties=properties,
            application_version=self._app.version,
            data=ResultData(context=self._job.context or {}, result=Primitive(content=items)),
        )


def items_of(result: Result, frame: Frame) -> list[Item]:
    """Sort a result's shapes and texts by colour, in result coordinates."""
    colours = dict.fromkeys([*(each.colour for each in result.shapes), *(each.colour for each in result.texts)])
    items = []
    for colour in colours:
        shapes = [each for each in result.shapes if each.colour == colour]
        items.append(
            Item(
                style=Style(stroke_style=colour, size=2),
                polygons=[Polygon(points=frame.points(each.points)) for each in shapes if each.closed],
                polylines=[Polygon(points=frame.points(each.points)) for each in shapes if not each.closed],
                labels=[
                    Label(location=frame.to_result(each.at), label=each.words)
                    for each in result.texts
                    if each.colour == colour
                ],
            )
        )
    return items


class ResultOnSlide:
    """The stored result of one job: found or made once, then updated. See DpatClient for the errors."""

    def __init__(self, client: DpatClient, app: App, job: Job) -> None:
        self.client = client
        self._app = app
        self._job = job
        self._known: tuple[int | str, int | str] | None = None
        self._looked = False

    def know(self, result_id: int | str, version_id: int | str) -> None:
        """Take over what was noted of the result: no call is needed to find it."""
        self._known = (result_id, version_id)

    def show(self, record: ResultRecord) -> Stored:
        """Store `record` as the job's one result."""
        self.find()
        if self._known is None:
            stored = self.client.create_result(self._app.id, record)
        else:
            stored = self.client.update_result(self._app.id, record, *self._known)
        self._known = (stored.id, stored.version_id)
        return stored

    def find(self) -> None:
        """Look for a result to update, once: a whole-slide app has one on each slide; one with regions has many."""
        if self._looked or self._known is not None or not isinstance(self._app.input, WholeSlide):
            return
        self._looked = True
        if (stored := newest(self.client.results_on_slide(self._app.id, self._job.slide_id))) is not None:
            self._known = (stored.id, stored.version_id)

    def current(self) -> Stored | None:
        """Read the result as DPAT has it now; None when there is none."""
        self.find()
        try:
            return self.client.result(self._app.id, self._known[0]) if self._known else None
        except NotFound:
            return None


def newest(results: list[Stored]) -> Stored | None:
    """Give the result with the highest number; None of none."""
    return max(results, key=lambda each: (len(str(each.id)), str(each.id)), default=None)


def show_cancelled(client: DpatClient, app: App, record: JobRecord) -> None:
    """Say on its slide that a job which had no worker was cancelled; a result that the user deleted stays so."""
    result = ResultOnSlide(client, app, record.job)
    if record.result is not None:
        result.know(record.result.id, record.result.version_id)
    with contextlib.suppress(NotFound):
        result.show(RecordMaker(app, record.job, frame_of(record.job.image_info)).cancelled())
