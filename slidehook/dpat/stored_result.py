"""The one result that an analysis has on a slide: in progress, failed or done, always updated in place."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any

import structlog

from slidehook.app import App, WholeSlide
from slidehook.dpat.errors import DpatRefused, DpatTimeout, Malformed, NotFound
from slidehook.dpat.iaapi.client import DpatClient
from slidehook.dpat.iaapi.models import (
    Item,
    Label,
    PatchCollection,
    Primitive,
    ResultData,
    ResultRecord,
    Stored,
    Style,
)
from slidehook.dpat.marks import JOB_MARK, PROGRESS, STATUS
from slidehook.dpat.noted_result import NotedResult
from slidehook.dpat.records import shown
from slidehook.geometry import Frame
from slidehook.jobs.job import JobRecord
from slidehook.models import ImageInfo, Point, Polygon
from slidehook.result import Result
from slidehook.results.budget import check_size
from slidehook.results.sanitize import sanitize_result
from slidehook.systems import Work

ORANGE = "#FF8C00"
RED = "#D13438"
QUEUED = "analysis queued"
CANCELLED = "cancelled"
PROGRESS_WITHIN_S = 5.0
"""How long DPAT may take for a progress update: the next one comes soon, and the final result must not wait."""

FRESH_S = 1.0
"""For how long what DPAT answered last is taken for what it has stored, when the final result is put in its place."""
STORED_WITHIN_S = 10.0
"""How long after it was sent a new result may still appear, at least; `READ_TIMEOUT` where that is longer."""

log = structlog.get_logger()


def frame_of(info: ImageInfo | None) -> Frame | None:
    """Give the slide's extent as its record says; None when the record does not say it."""
    size = info.image_size if info else None
    return Frame(size.width, size.height) if size and size.width > 0 and size.height > 0 else None


class RecordMaker:
    """Makes the records that show one job on its slide."""

    def __init__(self, app: App, job: Work, frame: Frame | None) -> None:
        self._app = app
        self._job = job
        self.frame = frame

    def in_progress(self, percent: float, text: str) -> ResultRecord:
        """Make the orange frame round the whole slide, with the text and the percentage at its top."""
        rounded = round(max(0, min(100, percent)))
        properties: dict[str, str | int | float | None] = {STATUS: text, PROGRESS: rounded}
        return self._record(f"{text}, {rounded} %", properties, self._framed(ORANGE, f"{text}, {rounded} %"))

    def failed(self, reason: str) -> ResultRecord:
        """Make the red frame that says why there is no result."""
        text = f"failed: {reason.rstrip('.')}"
        return self._record(text, {STATUS: text}, self._framed(RED, text))

    def cancelled(self) -> ResultRecord:
        """Make the frame that says that somebody stopped the analysis."""
        return self._record(CANCELLED, {STATUS: CANCELLED}, self._framed(ORANGE, CANCELLED))

    def done(self, result: Result, frame: Frame) -> ResultRecord:
        """Make what the app found; `frame` is the slide's extent that its pixels were counted in.

        Raises AppError when a result can't be made of it, such as of coordinates that are no numbers.
        """
        result = sanitize_result(result)
        record = self._record(result.text, {**result.properties}, shown(result, frame))
        check_size(self._app, record)
        return record

    def _framed(self, colour: str, text: str) -> Primitive:
        style = Style(stroke_style=colour, size=3)
        label = Label(location=Point(x=0, y=0), label=text)
        if self.frame is None:
            return Primitive(content=[Item(style=style, labels=[label])])
        corners = self.frame.points(self.frame.rectangle(0, 0, 1, 1))
        return Primitive(content=[Item(style=style, polygons=[Polygon(points=corners)], labels=[label])])

    def _record(
        self, text: str, properties: dict[str, str | int | float | None], what: Primitive | PatchCollection
    ) -> ResultRecord:
        return ResultRecord(
            slide_id=self._job.slide_id,
            display_result=text,
            display_properties=properties,
            application_version=self._app.version,
            data=ResultData(context={**(self._job.context or {}), JOB_MARK: self._job.id}, result=what),
        )


class ResultOnSlide:
    """The stored result of one job: found or made once, then updated. See DpatClient for the errors.

    `fresh`: nobody can have shown this job before. `in_doubt`: DPAT has not answered whoever tried to.
    """

    def __init__(
        self, client: DpatClient, app: App, job: Work, *, fresh: bool = False, in_doubt: bool = False
    ) -> None:
        self.client = client
        self._app = app
        self._job = job
        self._known: tuple[int | str, int | str] | None = None
        self._stored: Stored | None = None
        """The result as DPAT answered it last: what others keep in it goes back with each update."""
        self._stored_at = float("-inf")
        # A whole-slide app has one result on each slide, whichever job made it; one with regions has many.
        self._looked = fresh and not isinstance(app.input, WholeSlide)
        self._was_in_doubt = in_doubt
        self._doubted_until = 0.0
        self.unanswered = False
        """Whether a new result was sent from here that DPAT may have stored, or may store yet, without saying so."""

    @property
    def in_doubt(self) -> bool:
        """Whether DPAT may have more than one result of this job."""
        return self._was_in_doubt or self.unanswered

    def continued(self, client: DpatClient) -> ResultOnSlide:
        """Give the same result for another client; what this one still does is not told to the other."""
        other = ResultOnSlide(client, self._app, self._job)
        other._known, other._looked, other._was_in_doubt = self._known, self._looked, self._was_in_doubt
        other._stored, other._stored_at = self._stored, self._stored_at
        other.unanswered, other._doubted_until = self.unanswered, self._doubted_until
        return other

    def know(self, result_id: int | str, version_id: int | str) -> None:
        """Take over what was noted of the result: no call is needed to find it, but one to read it."""
        self._known, self._stored = (result_id, version_id), None

    def _learn(self, stored: Stored) -> None:
        self._known, self._stored = (stored.id, stored.version_id), stored
        self._stored_at = time.monotonic()

    def resume(self, noted: NotedResult | None, since: float) -> None:
        """Go on from what was noted last of the job.

        None: nothing was. Then a result that was sent at `since` (seconds since 1970) may still appear, so for some
        seconds a search that finds nothing is not believed.
        """
        self._was_in_doubt = noted is None or noted.in_doubt
        if noted is not None:
            self.know(noted.id, noted.version_id)
        else:
            self._doubted_until = since + max(self.client.read_timeout_s, STORED_WITHIN_S)

    def show(self, record: ResultRecord, *, once: bool = False) -> Stored:
        """Store `record` as the job's one result; `once`: without a second try, and only for a short time.

        Raises NotFound when the user has deleted the result.
        """
        client = self.client.without_retries(PROGRESS_WITHIN_S) if once else self.client
        self._find(client)
        if self._known is None:
            self._looked = False  # should this fail, it may be stored all the same
            # Not cut short: while the server is still at it, the next look does not find it, and makes a second one.
            stored = self._create(self.client.without_retries(math.inf) if once else self.client, record)
        else:
            stored = self._update(client, record, self._known)
        self._learn(stored)
        return stored

    def _create(self, client: DpatClient, record: ResultRecord) -> Stored:
        before, self.unanswered = self.unanswered, True
        looked = False

        def mine(results: list[Stored]) -> Stored | None:  # it is asked only about a try that was not answered
            nonlocal looked
            looked = True
            return self._mine(results)

        stored = client.create_result(self._app.id, record, mine)
        self.unanswered = before or looked
        return stored

    def end(self, record: ResultRecord) -> Stored:
        """Show how the job ended, also on what DPAT has stored of it without saying so. Raises as `show` does."""
        if self.in_doubt:
            # First, since what fails here must not put "waiting to try again" in the final result's place.
            self.find()
            self._end_others(record)
        if time.monotonic() - self._stored_at > FRESH_S:
            self._stored = None  # something may have been added to it since
        return self.show(record)

    def cancel(self, record: ResultRecord) -> Stored | None:
        """Show that the job was cancelled, and give what stands there then; None when the slide shows nothing of it.

        What has come to its end stands: its user may have seen it. Raises DpatTimeout when nothing is there, but may
        yet come.
        """
        if not self.is_shown() or self._known is None:
            if self.unanswered or time.time() < self._doubted_until:
                raise DpatTimeout("DPAT may still be storing the job's first result")
            return None
        if self.in_doubt:
            self._end_others(record)
        with contextlib.suppress(NotFound):  # else its update tells what that means
            present = self.client.result(self._app.id, self._known[0])
            if _has_ended(present):
                return present
            self._learn(present)
        return self._update(self.client, record, self._known, unless=_has_ended)

    def _end_others(self, record: ResultRecord) -> None:
        try:
            for each in self.client.results_on_slide(self._app.id, self._job.slide_id):
                another = self._known is None or str(each.id) != str(self._known[0])
                if another and _bears(each.answer, self._job.id) and not _has_ended(each):
                    with contextlib.suppress(NotFound):
                        self.client.update_result(self._app.id, record, each, keep_if=_has_ended)
                        log.warning("a second result, which DPAT stored late, shows the same", result=each.id)
        except (NotFound, DpatRefused, Malformed) as error:
            log.warning("no look for a second result", reason=str(error))

    def _update(
        self,
        client: DpatClient,
        record: ResultRecord,
        known: tuple[int | str, int | str],
        *,
        unless: Callable[[Stored], bool] = lambda _: False,
    ) -> Stored:
        try:
            return client.update_result(self._app.id, record, self._read(client, known), keep_if=unless)
        except NotFound as error:
            # A server that is being installed, or a proxy, answers 404 to everything: no user deleted that.
            try:
                there = client.results_on_slide(self._app.id, self._job.slide_id)
            except NotFound:
                raise DpatRefused("DPAT knows neither the result nor its slide any more.") from error
            if any(str(each.id) == str(known[0]) for each in there):
                raise DpatRefused(f"DPAT lists result {known[0]}, but answers 404 to its update.") from error
            raise

    def _read(self, client: DpatClient, known: tuple[int | str, int | str]) -> Stored:
        """Give the result with all that is in it, as far as DPAT tells."""
        if self._stored is None:
            try:
                self._learn(client.result(self._app.id, known[0]))
            except Malformed:
                return Stored(id=known[0], version_id=known[1])
        return self._stored or Stored(id=known[0], version_id=known[1])

    def find(self) -> None:
        """Look for the result to update, unless that is known or was done."""
        self._find(self.client)

    def _find(self, client: DpatClient) -> None:
        if self._looked or self._known is not None:
            return
        stored = self._mine(client.results_on_slide(self._app.id, self._job.slide_id))
        self._looked = True
        if stored is not None:
            self._learn(stored)

    def is_shown(self) -> bool:
        """Say whether anything of this very job is on its slide; looks for it where it is not known."""
        if self._known is None:
            there = self.client.results_on_slide(self._app.id, self._job.slide_id)
            if (mine := newest([each for each in there if _bears(each.answer, self._job.id)])) is not None:
                self._learn(mine)
        return self._known is not None

    def _mine(self, results: list[Stored]) -> Stored | None:
        """Pick the job's result from the app's on the slide."""
        if isinstance(self._app.input, WholeSlide):
            return newest(results)
        return newest([each for each in results if _bears(each.answer, self._job.id)])

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


def _has_ended(stored: Stored) -> bool:
    """Say whether a stored result is none of those that say how far a job is; each of ours has rows that tell it."""
    rows = stored.answer.get("displayProperties")
    return isinstance(rows, dict) and not (PROGRESS in rows and rows.keys() <= {STATUS, PROGRESS})


def says_result(stored: Stored) -> str | None:
    """Give the text of a stored result; None of one that says that a job is in progress, failed or cancelled."""
    rows = stored.answer.get("displayProperties")
    if isinstance(rows, dict) and STATUS in rows and rows.keys() <= {STATUS, PROGRESS}:
        return None
    return str(stored.answer.get("displayResult"))


def _bears(answer: dict[str, Any], job_id: str) -> bool:
    """Say whether a stored result bears the job's mark; of a stored result anything may be missing."""
    data = answer.get("data")
    context = data.get("context") if isinstance(data, dict) else None
    return isinstance(context, dict) and context.get(JOB_MARK) == job_id


def shown_by(context: dict[str, Any] | None) -> str | None:
    """Give the id of the job that a result, by its context, says it is of; None when it says none."""
    mark = (context or {}).get(JOB_MARK)
    return mark if isinstance(mark, str) else None


def show_cancelled(client: DpatClient, app: App, record: JobRecord) -> None:
    """Say on its slide that a job which had no worker was cancelled; a result that the user deleted stays so."""
    result = result_of_job(client, app, record)
    with contextlib.suppress(NotFound):
        result.cancel(RecordMaker(app, record.job, frame_of(record.job.image_info)).cancelled())


def result_of_job(client: DpatClient, app: App, record: JobRecord) -> ResultOnSlide:
    """Give the result of a job with what has been noted of it."""
    noted = record.result
    result = ResultOnSlide(client, app, record.job)
    known = NotedResult(id=noted.id, version_id=noted.version_id, in_doubt=noted.in_doubt) if noted else None
    result.resume(known, record.events[-1].at if record.events else record.job.created_at)
    return result
