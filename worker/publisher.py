"""Tells the slide how far the job is: at most one update a second, and never after the claim was lost."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable

import structlog

from slidehook.app import App
from slidehook.errors import DpatError, NotFound, SlidehookError, TokenExpired
from slidehook.geometry import Frame
from slidehook.iaapi.client import DpatClient
from slidehook.iaapi.models import ResultRecord
from slidehook.jobs.queue import Claim
from slidehook.publishing.onslide import RecordMaker, ResultOnSlide, frame_of
from slidehook.result import Result
from worker.watching import ResultDeleted

UPDATE_EVERY_S = 1.0
"""The shortest time between two progress updates, in seconds."""
CLOSE_WAIT_S = 2.0
"""How long a job that goes back to the queue waits for a progress update that is on its way, in seconds."""

log = structlog.get_logger()


class Publisher:
    """The one result of a claimed job. Every call that sends first proves that the claim is still ours.

    Progress is sent beside the work, one update at a time and the newest only: whoever tells it waits for nobody,
    however slow DPAT is. Close it before the claim is given up, or use it in `with`.
    """

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
        self._flight: _Flight | None = None

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def extent(self, frame: Frame) -> None:
        """Draw frames of this extent from now on; for a slide whose record did not say it."""
        self._maker.frame = self._maker.frame or frame

    def progress(self, percent: float, text: str) -> None:
        """Show progress; what comes too soon after the last update waits, and the newest wins."""
        self._pending = (percent, text)
        self.flush()

    def flush(self) -> None:
        """Send what waits, if its time has come and nothing is on its way; call it now and then.

        A server that is away loses a progress update, not the job. Raises what the last update met otherwise:
        ResultDeleted, TokenExpired, ClaimLost.
        """
        if self._flight is not None:
            if self._flight.is_alive():
                return
            self._landed(self._flight)
        if self._pending is None or self._clock() - self._sent_at < UPDATE_EVERY_S:
            return
        self._percent, text = self._pending
        self._pending = None
        self._sent_at = self._clock()
        record = self._maker.in_progress(self._percent, text)
        self._flight = _Flight(lambda: self._send(record, once=True))
        self._flight.start()

    def _landed(self, flight: _Flight) -> None:
        self._flight = None
        if flight.error is None:
            return
        if isinstance(flight.error, DpatError) and not isinstance(flight.error, NotFound | TokenExpired):
            log.warning("progress not shown", reason=str(flight.error))
            return
        raise flight.error

    def close(self, wait_s: float | None = CLOSE_WAIT_S) -> None:
        """Send no more progress, and wait for what is on its way; None: however long that takes.

        What that met is not told: whoever sends next meets it too.
        """
        self._pending = None
        if self._flight is not None:
            self._flight.join(wait_s)

    def waiting(self, why: str) -> bool:
        """Say that the job waits, and why, if DPAT can be told at all; False when it can't."""
        try:
            self._send_alone(self._maker.in_progress(self._percent, why), once=True)
        except DpatError as error:
            log.warning("progress not shown", reason=str(error))
            return False
        return True

    def final(self, result: Result, frame: Frame) -> ResultRecord:
        """Make what an app found ready for `done`, see `RecordMaker.done`."""
        return self._maker.done(result, frame)

    def done(self, record: ResultRecord) -> None:
        """Store the final result."""
        self._send_alone(record)

    def failed(self, reason: str) -> None:
        """Say on the slide that and why the job failed."""
        self._send_alone(self._maker.failed(reason))

    def cancelled(self) -> None:
        """Say on the slide that somebody stopped the job, if anything of it is shown there."""
        self.close(None)
        if self._result.is_shown():
            self._send_alone(self._maker.cancelled())

    def _send_alone(self, record: ResultRecord, *, once: bool = False) -> None:
        """Send what no progress update may overtake or follow."""
        self.close(None)
        self._send(record, once=once)

    def _send(self, record: ResultRecord, *, once: bool = False) -> None:
        self._claim.check()
        known = self._noted
        try:
            stored = self._result.show(record, once=once)
        except NotFound as error:
            if known:
                raise ResultDeleted("the user deleted the result on the slide") from error
            raise
        if not known:
            # Should this worker die, the next one finds the result without looking for it.
            self._claim.note_result(stored.id, stored.version_id)
            self._noted = True


class _Flight(threading.Thread):
    """One progress update on its way; `error` is what it met."""

    def __init__(self, send: Callable[[], None]) -> None:
        # A daemon: a worker that leaves does not wait for a server that sends nothing.
        super().__init__(name="progress", daemon=True)
        self._send = send
        self._context = contextvars.copy_context()
        self.error: SlidehookError | None = None

    def run(self) -> None:
        """Send the update, with the job's id in what is logged."""
        try:
            self._context.run(self._send)
        except SlidehookError as error:
            self.error = error
