"""A claim while its job is worked on: its steps wait for an unreachable queue, and a thread watches over it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import structlog
from pydantic import JsonValue

from slidehook.errors import QueueError, ResultDeleted, SlidehookError
from slidehook.jobs.contract import Claim
from slidehook.jobs.job import Job, JobRecord, JobState
from worker.shutdown import Interruption

AGAIN_S = 0.5
"""Seconds between two tries to reach the queue."""
LEAVING_S = 5.0
"""How long a worker that was told to leave still tries to record what becomes of its job, in seconds."""
WATCH_EVERY_S = 0.5
"""How often a worker checks that its claim is still its own and its job still wanted, in seconds."""

T = TypeVar("T")
log = structlog.get_logger()


class JobCancelled(SlidehookError):
    """Somebody asked for the job to stop."""


def check_wanted(claim: Claim) -> None:
    """Raise ResultDeleted or JobCancelled if nobody wants the job any more."""
    if claim.unwanted():
        raise ResultDeleted("the user deleted the result on the slide")
    if claim.cancel_wanted():
        raise JobCancelled("cancelled")


class ClaimMonitor:
    """Has the job dropped, whatever the main thread waits for, once it is lost or no longer wanted: use it in `with`.

    While the queue can't be reached, the job goes on, because nothing is known against it.
    """

    def __init__(self, claim: Claim, leaving: Interruption, *, every_s: float = WATCH_EVERY_S) -> None:
        self._claim = claim
        self._leaving = leaving
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._leaving.forget()

    def _watch(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                self._claim.check()
                check_wanted(self._claim)
            except SlidehookError as error:
                if isinstance(error, QueueError) and error.retryable:
                    continue
                self._leaving.drop(error)
                return


class PatientClaim:
    """A claim as `slidehook.jobs.contract.Claim`, safe for several threads, that tries each step until it succeeds.

    While the queue can't be reached, a step waits, and raises what `Interruption.check` raises. If the worker is told
    to leave, the steps that give the job away are tried for `LEAVING_S` more seconds, and then raise QueueError. An
    error that another try can't change, such as ClaimLost, is raised at once.
    """

    def __init__(self, claim: Claim, leaving: Interruption) -> None:
        self.now = claim
        """The claim whose steps raise QueueError at once."""
        self._leaving = leaving
        self._lock = threading.Lock()
        self._away = False

    @property
    def job(self) -> Job:
        """The job."""
        return self.now.job

    @property
    def record(self) -> JobRecord:
        """The job with what had happened to it before this claim."""
        return self.now.record

    @property
    def attempt(self) -> int:
        """The attempt's number, from 1."""
        return self.now.attempt

    @property
    def exhausted(self) -> bool:
        """Whether all attempts are used up."""
        return self.now.exhausted

    @property
    def last_reason(self) -> str:
        """Why the attempt before this one ended without an outcome."""
        return self.now.last_reason

    def check(self) -> None:
        """Prove that the claim is still this worker's own; raises ClaimLost."""
        self._until_reached(self.now.check)

    def secret(self) -> str | None:
        """Return the newest secret for the job's system; None when the job has no secret any more."""
        return self._until_reached(self.now.secret)

    def cancel_wanted(self) -> bool:
        """Whether somebody asked for the job to stop, and nobody for the same work since."""
        return self._until_reached(self.now.cancel_wanted)

    def unwanted(self) -> bool:
        """Whether the job must end without telling its system."""
        return self._until_reached(self.now.unwanted)

    def note(self, noted: dict[str, JsonValue]) -> None:
        """Store what a later attempt must find again; raises ClaimLost."""
        self._until_reached(partial(self.now.note, noted))

    def retry(self, reason: str, delay_s: float, *, counted: bool = True, trace: str = "") -> None:
        """Give the job back: it waits for `delay_s` seconds; raises ClaimLost."""
        self._until_done(partial(self.now.retry, reason, delay_s, counted=counted, trace=trace))

    def park(self, reason: str) -> None:
        """Give the job back until the same work is asked for again; raises ClaimLost."""
        self._until_done(partial(self.now.park, reason))

    def give_back(self) -> None:
        """Let another worker have the job at once; raises ClaimLost."""
        self._until_done(self.now.give_back)

    def finish(self, outcome: JobState, reason: str = "", seconds: float | None = None, *, trace: str = "") -> None:
        """End the job as done, failed or cancelled; raises ClaimLost."""
        self._until_done(partial(self.now.finish, outcome, reason, seconds, trace=trace))

    def _until_reached(self, step: Callable[[], T]) -> T:
        while True:
            try:
                result = step()
            except QueueError as error:
                self._failed(error)
                self._leaving.pause(AGAIN_S)
            else:
                self._reached()
                return result

    def _until_done(self, step: Callable[[], None]) -> None:
        """Try a step that gives the job away. If all tries fail, the attempt counts, as after a worker's death."""
        until = None
        while True:
            try:
                step()
            except QueueError as error:
                self._failed(error)
                if self._leaving.asked:
                    until = until or time.monotonic() + LEAVING_S
                    if time.monotonic() > until:
                        raise
                    time.sleep(AGAIN_S)
                else:
                    self._leaving.wait(AGAIN_S)
            else:
                self._reached()
                return

    def _failed(self, error: QueueError) -> None:
        """Log the first failure of an outage; raises errors that trying again can't change."""
        if not error.retryable:
            raise error
        with self._lock:
            first, self._away = not self._away, True
        if first:
            log.warning("the queue can't be reached, the job goes on", reason=str(error))

    def _reached(self) -> None:
        with self._lock:
            again, self._away = self._away, False
        if again:
            log.info("the queue can be reached again")
