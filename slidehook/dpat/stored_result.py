"""The one stored result of an analysis: in progress, failed or done, always updated in place."""

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
from slidehook.dpat.records import check_size, draft_of
from slidehook.geometry import Frame
from slidehook.models import ImageInfo, Point, Polygon
from slidehook.result import Result
from slidehook.results.sanitize import sanitize_result
from slidehook.systems import Work

ORANGE = "#FF8C00"
RED = "#D13438"
QUEUED = "analysis queued"
CANCELLED = "cancelled"
PROGRESS_WITHIN_S = 5.0
"""The time limit of a progress update, in seconds: the next one follows soon, and must not delay the final result."""

FRESH_S = 1.0
"""How long DPAT's last answer counts as the stored result when the final result replaces it, in seconds."""
STORED_WITHIN_S = 10.0
"""How long after its sending a new result may still appear, in seconds; `READ_TIMEOUT` if that is longer."""

log = structlog.get_logger()


def frame_of(info: ImageInfo | None) -> Frame | None:
    """Return the slide's extent from its record, or None if the record has no valid size."""
    size = info.image_size if info else None
    return Frame(size.width, size.height) if size and size.width > 0 and size.height > 0 else None


class RecordMaker:
    """Creates the result records of one job."""

    def __init__(self, app: App, job: Work, frame: Frame | None) -> None:
        self._app = app
        self._job = job
        self.frame = frame

    def in_progress(self, percent: float, text: str) -> ResultRecord:
        """Create an orange frame around the whole slide, with the text and the percentage at its top."""
        rounded = round(max(0, min(100, percent)))
        properties: dict[str, str | int | float | None] = {STATUS: text, PROGRESS: rounded}
        return self._record(f"{text}, {rounded} %", properties, self._frame(ORANGE, f"{text}, {rounded} %"))

    def failed(self, reason: str) -> ResultRecord:
        """Create a red frame with the reason for the failure."""
        text = f"failed: {reason.rstrip('.')}"
        return self._record(text, {STATUS: text}, self._frame(RED, text))

    def cancelled(self) -> ResultRecord:
        """Create a frame with the text that the analysis was cancelled."""
        return self._record(CANCELLED, {STATUS: CANCELLED}, self._frame(ORANGE, CANCELLED))

    def done(self, result: Result, frame: Frame) -> ResultRecord:
        """Create the app's result; `frame` is the slide's extent, in which its pixel coordinates are given.

        Raises AppError when the result is invalid, for example if coordinates are not numbers.
        """
        result = sanitize_result(result)
        draft = draft_of(result, frame)
        record = self._record(draft.text, draft.rows, draft.shown())
        check_size(self._app, record)
        return record

    def _frame(self, colour: str, text: str) -> Primitive:
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
    """The stored result of one job: found or created once, then updated. See DpatClient for the errors.

    `fresh` means that no result of this job can exist yet. `in_doubt` means that an earlier attempt to create it got
    no answer.
    """

    def __init__(
        self, client: DpatClient, app: App, job: Work, *, fresh: bool = False, in_doubt: bool = False
    ) -> None:
        self.client = client
        self._app = app
        self._job = job
        self._known: tuple[int | str, int | str] | None = None
        self._stored: Stored | None = None
        """The result as DPAT last returned it; its foreign fields are sent with each update."""
        self._stored_at = float("-inf")
        # A whole-slide app has one result on each slide, whichever job made it; one with regions has many.
        self._searched = fresh and not isinstance(app.input, WholeSlide)
        self._was_in_doubt = in_doubt
        self._uncertain_until = 0.0
        self.unanswered = False
        """Whether this object sent a new result that DPAT did not acknowledge, but may store or have stored."""

    @property
    def in_doubt(self) -> bool:
        """Whether DPAT may have more than one result of this job."""
        return self._was_in_doubt or self.unanswered

    def continued(self, client: DpatClient) -> ResultOnSlide:
        """Return a copy of this state for another client; later changes of this object do not affect it."""
        other = ResultOnSlide(client, self._app, self._job)
        other._known, other._searched, other._was_in_doubt = self._known, self._searched, self._was_in_doubt
        other._stored, other._stored_at = self._stored, self._stored_at
        other.unanswered, other._uncertain_until = self.unanswered, self._uncertain_until
        return other

    def know(self, result_id: int | str, version_id: int | str) -> None:
        """Set the result's known id and version: it need not be searched for, but must be read before an update."""
        self._known, self._stored = (result_id, version_id), None

    def _remember(self, stored: Stored) -> None:
        self._known, self._stored = (stored.id, stored.version_id), stored
        self._stored_at = time.monotonic()

    def resume(self, noted: NotedResult | None, since: float) -> None:
        """Continue from the result that was last noted for the job.

        With None, a result that was sent at `since` (seconds since 1970) may still appear, so for some seconds a
        search without a hit is not final.
        """
        self._was_in_doubt = noted is None or noted.in_doubt
        if noted is not None:
            self.know(noted.id, noted.version_id)
        else:
            self._uncertain_until = since + max(self.client.read_timeout_s, STORED_WITHIN_S)

    def show(self, record: ResultRecord, *, once: bool = False) -> Stored:
        """Store `record` as the job's one result; with `once` there is a single try with a short time limit.

        Raises NotFound when the user has deleted the result.
        """
        client = self.client.without_retries(PROGRESS_WITHIN_S) if once else self.client
        self._find(client)
        if self._known is None:
            self._searched = False  # if this fails, it may be stored nevertheless
            # Without the short limit: while the server is still storing the result, the next attempt would not find
            # it and would create a second one.
            stored = self._create(self.client.without_retries(math.inf) if once else self.client, record)
        else:
            stored = self._update(client, record, self._known)
        self._remember(stored)
        return stored

    def _create(self, client: DpatClient, record: ResultRecord) -> Stored:
        before, self.unanswered = self.unanswered, True
        searched = False

        def own(results: list[Stored]) -> Stored | None:  # called only after a try without an answer
            nonlocal searched
            searched = True
            return self._own_result(results)

        stored = client.create_result(self._app.id, record, own)
        self.unanswered = before or searched
        return stored

    def end(self, record: ResultRecord) -> Stored:
        """Store the job's end, even in unacknowledged results of the job. Raises as `show` does."""
        if self.in_doubt:
            # First, because a failure here must not replace the final result by "waiting to try again".
            self.find()
            self._end_others(record)
        if time.monotonic() - self._stored_at > FRESH_S:
            self._stored = None  # another program may have added something since
        return self.show(record)

    def cancel(self, record: ResultRecord) -> Stored | None:
        """Store that the job was cancelled; returns the stored result, or None when the slide has no result of it.

        A final result is kept, because its user may have seen it. Raises DpatTimeout when there is no result yet, but
        one may still appear.
        """
        if not self.is_shown() or self._known is None:
            if self.unanswered or time.time() < self._uncertain_until:
                raise DpatTimeout("DPAT may still be storing the job's first result")
            return None
        if self.in_doubt:
            self._end_others(record)
        with contextlib.suppress(NotFound):  # the update below finds out the reason
            present = self.client.result(self._app.id, self._known[0])
            if _has_ended(present):
                return present
            self._remember(present)
        return self._update(self.client, record, self._known, keep_if=_has_ended)

    def _end_others(self, record: ResultRecord) -> None:
        try:
            for each in self.client.results_on_slide(self._app.id, self._job.slide_id):
                another = self._known is None or str(each.id) != str(self._known[0])
                if another and _has_mark(each.answer, self._job.id) and not _has_ended(each):
                    with contextlib.suppress(NotFound):
                        self.client.update_result(self._app.id, record, each, keep_if=_has_ended)
                        log.warning("a second result, stored late by DPAT, now shows the same", result=each.id)
        except (NotFound, DpatRefused, Malformed) as error:
            log.warning("could not check for a second result", reason=str(error))

    def _update(
        self,
        client: DpatClient,
        record: ResultRecord,
        known: tuple[int | str, int | str],
        *,
        keep_if: Callable[[Stored], bool] = lambda _: False,
    ) -> Stored:
        try:
            return client.update_result(self._app.id, record, self._read(client, known), keep_if=keep_if)
        except NotFound as error:
            # A server during its installation, or a proxy, answers 404 to everything: the user has deleted nothing.
            try:
                there = client.results_on_slide(self._app.id, self._job.slide_id)
            except NotFound:
                raise DpatRefused("DPAT has neither the result nor its slide any more.") from error
            if any(str(each.id) == str(known[0]) for each in there):
                raise DpatRefused(f"DPAT lists result {known[0]}, but answers 404 to its update.") from error
            raise

    def _read(self, client: DpatClient, known: tuple[int | str, int | str]) -> Stored:
        """Return the complete result if DPAT returns a valid one, else only its id and version."""
        if self._stored is None:
            try:
                self._remember(client.result(self._app.id, known[0]))
            except Malformed:
                return Stored(id=known[0], version_id=known[1])
        return self._stored or Stored(id=known[0], version_id=known[1])

    def find(self) -> None:
        """Search for the result to update, unless it is known or was already searched for."""
        self._find(self.client)

    def _find(self, client: DpatClient) -> None:
        if self._searched or self._known is not None:
            return
        stored = self._own_result(client.results_on_slide(self._app.id, self._job.slide_id))
        self._searched = True
        if stored is not None:
            self._remember(stored)

    def is_shown(self) -> bool:
        """Whether the slide has a result of this job; searches for it if it is not known."""
        if self._known is None:
            there = self.client.results_on_slide(self._app.id, self._job.slide_id)
            if (own := newest([each for each in there if _has_mark(each.answer, self._job.id)])) is not None:
                self._remember(own)
        return self._known is not None

    def _own_result(self, results: list[Stored]) -> Stored | None:
        """Return the job's result among the app's results on the slide."""
        if isinstance(self._app.input, WholeSlide):
            return newest(results)
        return newest([each for each in results if _has_mark(each.answer, self._job.id)])

    def current(self) -> Stored | None:
        """Read the current result from DPAT; None when there is none."""
        self.find()
        try:
            return self.client.result(self._app.id, self._known[0]) if self._known else None
        except NotFound:
            return None


def newest(results: list[Stored]) -> Stored | None:
    """Return the result with the highest id; None if there is none."""
    return max(results, key=lambda each: (len(str(each.id)), str(each.id)), default=None)


def _has_ended(stored: Stored) -> bool:
    """Whether a stored result is final; a result in progress has only the status and progress rows."""
    rows = stored.answer.get("displayProperties")
    return isinstance(rows, dict) and not (PROGRESS in rows and rows.keys() <= {STATUS, PROGRESS})


def says_result(stored: Stored) -> str | None:
    """Return the text of a finished result; None if the result is in progress, failed or cancelled."""
    rows = stored.answer.get("displayProperties")
    if isinstance(rows, dict) and STATUS in rows and rows.keys() <= {STATUS, PROGRESS}:
        return None
    return str(stored.answer.get("displayResult"))


def _has_mark(answer: dict[str, Any], job_id: str) -> bool:
    """Whether a stored result has the job's mark; any of its fields may be missing."""
    data = answer.get("data")
    context = data.get("context") if isinstance(data, dict) else None
    return isinstance(context, dict) and context.get(JOB_MARK) == job_id


def shown_by(context: dict[str, Any] | None) -> str | None:
    """Return the job's id from a result's context, or None."""
    mark = (context or {}).get(JOB_MARK)
    return mark if isinstance(mark, str) else None
