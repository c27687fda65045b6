"""Shows how far a job is and how it ended: at most one update a second, and none after the claim was lost."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial

import structlog

from slidehook.errors import Refused, SystemFault, SystemUnavailable
from slidehook.jobs.contract import Claim
from slidehook.models import ImageInfo
from slidehook.systems import Done, Ending, Failed, Noted, ResultDestination, show_cancelled
from worker.shutdown import Call, Interruption, check_abandoned, kept

UPDATE_EVERY_S = 1.0
"""The shortest time between two progress updates, in seconds."""
CLOSE_WAIT_S = 2.0
"""How long a job that goes back to the queue waits for a progress update that is on its way, in seconds."""

log = structlog.get_logger()


class Publisher:
    """The one result of a claimed job. Only the main thread may use it.

    Progress is sent in the background, one update at a time and only the newest: the caller never waits for a slow
    system. Close it before the claim is given up, or use it in `with`. Its `destination` must prove the claim before
    each call.
    """

    def __init__(
        self,
        claim: Claim,
        destination: ResultDestination,
        *,
        leaving: Interruption,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        record = claim.record
        destination.resume(record.noted, record.changed_at)
        self._claim = claim
        self._destination = destination
        self._leaving = leaving
        self._clock = clock
        self._pending: tuple[float, str] | None = None
        self._percent = 0.0
        self._sent_at = float("-inf")
        self._flight: Call[None] | None = None

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def describe(self, info: ImageInfo) -> None:
        """Hand on the slide's image record as soon as it is known."""
        self._destination.describe(info)

    def progress(self, percent: float, text: str) -> None:
        """Show progress; an update that comes too soon after the last one waits, and a newer one replaces it."""
        self._pending = (percent, text)
        self.flush()

    def flush(self) -> None:
        """Send the waiting update if its time has come and no other is on its way; call it now and then.

        If the system is unavailable, one progress update is lost, but not the job. Raises what the last update raised
        otherwise: Gone, AccessExpired, ClaimLost.
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
        destination, percent = self._destination, self._percent
        self._flight = self._leaving.start(lambda: self._send(lambda: destination.progress(percent, text)))

    def _landed(self, flight: Call[None]) -> None:
        self._flight = None
        if isinstance(flight.error, SystemUnavailable | Refused):
            log.warning("progress not shown", reason=str(flight.error))
        elif flight.error is not None:
            raise flight.error

    def close(self, wait_s: float | None = CLOSE_WAIT_S) -> None:
        """Send no more progress, and wait for the update that is on its way; None: until it has ended.

        An error of that update is not raised here, because the next call meets it, too.
        """
        self._pending = None
        if self._flight is not None:
            self._flight.wait(wait_s)

    def abandon(self) -> None:
        """Send no more progress, and do not wait for a call that is under way: it sends nothing further.

        The system may still store what such a call has sent, but never over anything that is sent after this.
        """
        self._pending = None
        if self._flight is not None:
            self._flight.abandon()
            self._flight = None
        # An abandoned call that gets its answer late changes only the former object.
        self._destination = self._destination.continued()

    def waiting(self, why: str) -> bool:
        """Show that the job waits, and why; returns whether the system stored that."""
        try:
            self._send_alone(lambda destination: destination.progress(self._percent, why))
        except SystemFault as error:
            log.warning("progress not shown", reason=str(error))
            return False
        return True

    def done(self, done: Done) -> None:
        """Show the result."""
        self._end(done)

    def failed(self, reason: str) -> None:
        """Show that the job failed, and why."""
        self._end(Failed(reason))

    def cancelled(self, *, within_s: float = math.inf) -> str | None:
        """Show that somebody stopped the job, if anything of the job is shown.

        A result that was stored before is kept, because its user may have seen it; returns its text. Raises
        SystemUnavailable, too, when the system may yet store what the job has begun to show, and TooSlow after
        `within_s` seconds.
        """
        self.abandon()
        self._claim.check()
        return self._leaving.run(partial(show_cancelled, self._destination), within_s=within_s, leave=False)

    def follow_up(self, done: Done) -> None:
        """Do what follows a stored result; raises what `ResultDestination.follow_up` and `Interruption.run` raise."""
        destination = self._destination
        self._leaving.run(lambda: destination.follow_up(done))

    def _end(self, ending: Ending) -> None:
        self._send_alone(lambda destination: destination.end(ending))

    def _send_alone(self, send: Callable[[ResultDestination], Noted | None]) -> None:
        """Send what no progress update may overtake or follow.

        A job that is to be dropped does not wait for the system; a worker that leaves does, because the result took
        long to compute.
        """
        self._pending = None
        flight, destination = self._flight, self._destination

        def alone() -> None:
            if flight is not None:
                flight.wait()
            self._send(lambda: send(destination))

        self._leaving.run(alone, leave=False)

    def _send(self, send: Callable[[], Noted | None]) -> None:
        """Send, and note what a later attempt needs: if this worker dies, the next one needs no search."""
        check_abandoned()
        noted = send()
        with kept():
            if noted is not None:
                self._claim.note(noted)
