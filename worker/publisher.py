"""Tells the slide how far the job is: at most one update a second, and never after the claim was lost."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from slidehook.app import App
from slidehook.errors import DpatError, NotFound, TokenExpired
from slidehook.geometry import Frame
from slidehook.iaapi.client import DpatClient
from slidehook.iaapi.models import ResultRecord
from slidehook.jobs.queue import Claim
from slidehook.publishing import RecordMaker, ResultOnSlide, frame_of
from slidehook.result import Result

UPDATE_EVERY_S = 1.0
"""The shortest time between two progress updates, in seconds."""

log = structlog.get_logger()


class ResultDeletedByUser(NotFound):
    """The user deleted the result while the job ran: it is not made anew, and the job stops."""


class Publisher:
    """The one result of a claimed job. Every call that sends first proves that the claim is still ours."""

    def __init__(
        self, claim: Claim, app: App, client: DpatClient, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._claim = claim
        self._clock = clock
        self._maker = RecordMaker(app, claim.job, frame_of(claim.job.image_info))
        self._result = ResultOnSlide(client, app, claim.job)
        self._noted = False
        if (noted := claim.record.result) is not None:
            self._result.know(noted.id, noted.version_id)
            self._noted = True
        self._pending: tuple[float, str] | None = None
        self._percent = 0.0
        self._sent_at = float("-inf")

    def extent(self, frame: Frame) -> None:
        """Draw frames of this extent from now on; for a slide whose record did not say it."""
        self._maker.frame = self._maker.frame or frame

    def progress(self, percent: float, text: str) -> None:
        """Show progress; what comes too soon after the last update waits, and the newest wins."""
        self._pending = (percent, text)
        self.flush()

    def flush(self) -> None:
        """Send what waits, if its time has come. A server that is away loses a progress update, not the job."""
        if self._pending is None or self._clock() - self._sent_at < UPDATE_EVERY_S:
            return
        self._percent, text = self._pending
        self._pending = None
        self._sent_at = self._clock()
        try:
            self._send(self._maker.in_progress(self._percent, text))
        except (NotFound, TokenExpired):
            raise
        except DpatError as error:
            log.warning("progress not shown", reason=str(error))

    def waiting(self, why: str) -> None:
        """Say that the job waits, and why, if DPAT can be told at all."""
        try:
            self._send(self._maker.in_progress(self._percent, why))
        except DpatError as error:
            log.warning("progress not shown", reason=str(error))

    def done(self, result: Result, frame: Frame) -> None:
        """Store the final result."""
        self._send(self._maker.done(result, frame))

    def failed(self, reason: str) -> None:
        """Say on the slide that and why the job failed."""
        self._send(self._maker.failed(reason))

    def cancelled(self) -> None:
        """Say on the slide that somebody stopped the job."""
        self._send(self._maker.cancelled())

    def _send(self, record: ResultRecord) -> None:
        self._claim.check()
        known = self._noted
        try:
            stored = self._result.show(record)
        except NotFound as error:
            if known:
                raise ResultDeletedByUser("the user deleted the result on the slide") from error
            raise
        if not known:
            # Should this worker die, the next one finds the result without looking for it.
            self._claim.note_result(stored.id, stored.version_id)
            self._noted = True
