"""Tells the slide how far the job is: at most one update a second, and never after the claim was lost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from slidehook.app import App
from slidehook.dpat.errors import DpatError, NotFound, TokenExpired
from slidehook.dpat.iaapi.client import DpatClient
from slidehook.dpat.iaapi.models import ResultRecord, Stored
from slidehook.dpat.noted_result import NotedResult
from slidehook.dpat.stored_result import RecordMaker, ResultOnSlide, frame_of, result_of_job, says_result
from slidehook.geometry import Frame
from slidehook.jobs.contract import Claim
from slidehook.result import Result
from worker.claim_monitor import ResultDeleted
from worker.shutdown import Call, Interruption, check_abandoned, kept

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
        self,
        claim: Claim,
        app: App,
        client: DpatClient,
        *,
        leaving: Interruption,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._claim = claim
        self._clock = clock
        self._client = client.guarded_by(check_abandoned)
        self._leaving = leaving
        self._maker = RecordMaker(app, claim.job, frame_of(claim.job.image_info))
        self._result = result_of_job(self._client, app, claim.record)
        self._noted = claim.record.noted is not None
        self._pending: tuple[float, str] | None = None
        self._percent = 0.0
        self._sent_at = float("-inf")
        self._flight: Call[None] | None = None

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
            if not self._flight.ended:
                return
            self._landed(self._flight)
        if self._pending is None or self._clock() - self._sent_at < UPDATE_EVERY_S:
            return
        self._percent, text = self._pending
        self._pending = None
        self._sent_at = self._clock()
        record = self._maker.in_progress(self._percent, text)
        result = self._result
        self._flight = self._leaving.start(lambda: self._send(lambda: result.show(record, once=True)))

    def _landed(self, flight: Call[None]) -> None:
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
            self._flight.wait(wait_s)

    def abandon(self) -> None:
        """Send no more progress, and wait for no call that is under way: it sends nothing further.

        DPAT may still store what such a call has sent, but only in the place of the version that it names: never over
        anything that is sent after this.
        """
        self._pending = None
        if self._flight is not None:
            self._flight.abandon()
            self._flight = None
        # An abandoned call that gets its answer late writes to the former object.
        self._result = self._result.continued(self._client)

    def waiting(self, why: str) -> bool:
        """Say that the job waits, and why, if DPAT can be told at all; False when it can't."""
        try:
            record = self._maker.in_progress(self._percent, why)
            self._send_alone(lambda result: result.show(record, once=True))
        except DpatError as error:
            log.warning("progress not shown", reason=str(error))
            return False
        return True

    def final(self, result: Result, frame: Frame) -> ResultRecord:
        """Make what an app found ready for `done`, see `RecordMaker.done`."""
        return self._maker.done(result, frame)

    def done(self, record: ResultRecord) -> None:
        """Store the final result."""
        self._end(record)

    def failed(self, reason: str) -> None:
        """Say on the slide that and why the job failed."""
        self._end(self._maker.failed(reason))

    def cancelled(self, *, within_s: float = math.inf) -> str | None:
        """Show on the slide that somebody stopped the job, if the slide shows anything of the job.

        A result that DPAT has stored before it could be told stands, since its user may have seen it: gives its text.
        Raises DpatTimeout, too, when DPAT may yet store what the job has begun to show, and TooSlow after `within_s`
        seconds.
        """
        self.abandon()
        self._claim.check()
        result, record = self._result, self._maker.cancelled()

        def cancel() -> str | None:
            with suppress(NotFound):  # the user has deleted it
                if (stored := result.cancel(record)) is not None:
                    return says_result(stored)
            return None

        return self._leaving.run(cancel, within_s=within_s, leave=False)

    def _end(self, record: ResultRecord) -> None:
        self._send_alone(lambda result: result.end(record))

    def _send_alone(self, send: Callable[[ResultOnSlide], Stored]) -> None:
        """Send what no progress update may overtake or follow.

        A job that is to be dropped does not wait for DPAT; a worker that leaves does, since the result took long to
        compute.
        """
        self._pending = None
        flight, result = self._flight, self._result

        def alone() -> None:
            if flight is not None:
                flight.wait()
            self._send(lambda: send(result))

        self._leaving.run(alone, leave=False)

    def _send(self, send: Callable[[], Stored]) -> None:
        stored = self._shown(send)
        with kept():
            self._note(stored)

    def _shown(self, send: Callable[[], Stored]) -> Stored:
        check_abandoned()
        self._claim.check()
        known = self._noted
        try:
            return send()
        except NotFound as error:
            if known:
                raise ResultDeleted("the user deleted the result on the slide") from error
            raise

    def _note(self, stored: Stored) -> None:
        """Note a result that was made: should this worker die, the next one finds it without looking for it."""
        if not self._noted:
            self._claim.note(
                NotedResult(id=stored.id, version_id=stored.version_id, in_doubt=self._result.in_doubt).to_json()
            )
            self._noted = True
