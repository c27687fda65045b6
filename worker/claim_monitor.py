"""Looks after a claim while its job is worked on: it must still be this worker's own, and still be wanted."""

from __future__ import annotations

import threading

from slidehook.errors import QueueError, ResultDeleted, SlidehookError
from slidehook.jobs.contract import Claim
from worker.shutdown import Interruption

LOOK_EVERY_S = 0.5
"""How often a worker makes sure that its claim is its own and still wanted, in seconds."""


class JobCancelled(SlidehookError):
    """Somebody asked for the job to stop."""


def check_wanted(claim: Claim) -> None:
    """Raise ResultDeleted or JobCancelled when nobody wants the job any more."""
    if claim.unwanted():
        raise ResultDeleted("the user deleted the result on the slide")
    if claim.cancel_wanted():
        raise JobCancelled("cancelled")


class ClaimMonitor:
    """Has the main thread drop a job that is lost or no longer wanted, wherever it is: use it in `with`.

    A thread of its own, since the main thread may wait for a server that sends nothing. While the queue can't be
    reached, nothing is known against the job, so it goes on.
    """

    def __init__(self, claim: Claim, leaving: Interruption, *, every_s: float = LOOK_EVERY_S) -> None:
        self._claim = claim
        self._leaving = leaving
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._leaving.forget()

    def _look(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                self._claim.check()
                check_wanted(self._claim)
            except SlidehookError as error:
                if isinstance(error, QueueError) and error.retryable:
                    continue
                self._leaving.drop(error)
                return
