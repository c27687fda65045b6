"""Tells the slide how far the job is: at most one update a second, and never after the claim was lost."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

import structlog

from slidehook.app import App
from slidehook.dpat.errors import DpatError, NotFound, TokenExpired
from slidehook.dpat.iaapi.client import DpatClient
from slidehook.dpat.iaapi.models import ResultRecord, Stored
from slidehook.dpat.noted_result import NotedResult
from slidehook.dpat.stored_result import RecordMaker, frame_of, result_of_job, says_result
from slidehook.errors import SlidehookError
from slidehook.geometry import Frame
from slidehook.jobs.contract import Claim
from slidehook.result import Result
from worker.claim_monitor import ResultDeleted

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
        droppable: Callable[[], AbstractContextManager[None]] = nullcontext,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._claim = claim
        self._clock = clock
        self._client = client
        self._droppable = droppable
        self._maker = RecordMaker(app, claim.job, frame_of(claim.job.image_info))
        self._gate = _Gate()
        self._result = result_of_job(client.guarded_by(self._gate.check), app, claim.record)
        self._noted = claim.record.noted is not None
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
            if not self._flight.landed.is_set():
                return
            self._landed(self._flight)
        if self._pending is None or self._clock() - self._sent_at < UPDATE_EVERY_S:
            return
        self._percent, text = self._pending
        self._pending = None
        self._sent_at = self._clock()
        record = self._maker.in_progress(self._percent, text)
        gate, result = self._gate, self._result

        def send() -> None:
            stored = self._shown(lambda: result.show(record, once=True))
            with gate.held():
                self._note(stored)

        self._flight = _Flight(send)
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
            self._flight.landed.wait(wait_s)

    def abandon(self) -> None:
        """Send no more progress, and let what is on its way send nothing further: nobody waits for it.

        What it has sent may still be stored, but only in the place of the version that it names: never over what is
        sent after this.
        """
        self._pending = None
        if self._flight is None or self._flight.landed.is_set():
            return
        self._flight = None
        self._gate.shut()
        self._gate = _Gate()
        self._result = self._result.continued(self._client.guarded_by(self._gate.check))

    def waiting(self, why: str) -> bool:
        """Say that the job waits, and why, if DPAT can be told at all; False when it can't."""
        try:
            record = self._maker.in_progress(self._percent, why)
            self._send_alone(lambda: self._result.show(record, once=True))
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

    def cancelled(self) -> str | None:
        """Say on the slide that somebody stopped the job, if anything of it is shown there.

        A result that DPAT has stored before it could be told stands, since its user may have seen it: gives its text.
        Raises DpatTimeout, too, when DPAT may yet store what the job has begun to show.
        """
        self.abandon()
        self._claim.check()
        with suppress(NotFound):  # the user has deleted it
            if (stored := self._result.cancel(self._maker.cancelled())) is not None:
                return says_result(stored)
        return None

    def _end(self, record: ResultRecord) -> None:
        self._send_alone(lambda: self._result.end(record))

    def _send_alone(self, send: Callable[[], Stored]) -> None:
        """Send what no progress update may overtake or follow; a job that is to be dropped does not wait for DPAT."""
        with self._droppable():
            self.close(None)
            stored = self._shown(send)
        self._note(stored)

    def _shown(self, send: Callable[[], Stored]) -> Stored:
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


class _Abandoned(SlidehookError):
    """Nobody waits any more for what this was part of."""


class _Gate:
    """Lets one line of calls to DPAT through, until it is shut."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_shut = False

    def check(self) -> None:
        """Raise when it is shut."""
        if self._is_shut:
            raise _Abandoned("the job has been stopped")

    def shut(self) -> None:
        """Let nothing through from now on."""
        with self._lock:
            self._is_shut = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep it from being shut during this block; raises when it is shut."""
        with self._lock:
            self.check()
            yield


class _Flight(threading.Thread):
    """One progress update on its way; `error` is what it met."""

    def __init__(self, send: Callable[[], None]) -> None:
        # A daemon: a worker that leaves does not wait for a server that sends nothing.
        super().__init__(name="progress", daemon=True)
        self._send = send
        self._context = contextvars.copy_context()
        self.error: SlidehookError | None = None
        self.landed = threading.Event()  # unlike `join`, it can be waited for by who may be interrupted

    def run(self) -> None:
        """Send the update, with the job's id in what is logged."""
        try:
            self._context.run(self._send)
        except SlidehookError as error:
            self.error = error
        finally:
            self.landed.set()
