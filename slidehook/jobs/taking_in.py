"""Takes a job in for a front door: durable first, then shown in its system, then claimable.

A job is held in the queue while it is shown in its system. If the front door dies meanwhile, the job runs all the
same, and its worker shows it in the system. A request for the same work joins the job that is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from pydantic import JsonValue

from slidehook.errors import QueueError, SlidehookError
from slidehook.jobs.contract import Hold, JobSink
from slidehook.jobs.job import Job, JobRecord

LOOK_EVERY_S = 0.05
"""How often an earlier request that is still being taken in is looked at, in seconds."""

T = TypeVar("T")
log = structlog.get_logger()


class EarlierRequestPending(SlidehookError):
    """An earlier request for the same work is still being taken in, and may yet be withdrawn."""

    retryable = True


def hold_or_join(
    sink: JobSink, job: Job, prove: Callable[[JobRecord], T], *, wait_s: float
) -> tuple[Hold | None, T | None]:
    """Hold a job, or join it to the same work that is there; returns the hold, or None and what `prove` returned.

    `prove` gets the work that is there, and proves that the caller has access to it; an error that it raises ends the
    call and leaves that work as it was. Work that its own front door may still withdraw can't be joined: this waits
    `wait_s` seconds at most for that to be decided, then raises EarlierRequestPending.
    """
    while True:
        hold = sink.hold(job, join=False)
        if not hold.coalesced:
            return hold, None
        if (twin := _decided(sink, job, wait_s)) is None:
            continue
        proof = prove(twin)
        if sink.join(job):
            log.info("already at work", job=twin.job.id, app=job.app_id)
            return None, proof


def _decided(sink: JobSink, job: Job, wait_s: float) -> JobRecord | None:
    """Read the existing work once it can't be withdrawn any more; None if it is gone."""
    until = time.monotonic() + wait_s
    while (record := sink.peek(job)) is not None:
        if record.noted is not None:
            return record
        if not sink.is_held(record.job.id):
            return sink.peek(job)  # again: it may have been withdrawn between the two looks
        if time.monotonic() > until:
            raise EarlierRequestPending("an earlier request for the same work is still being taken in")
        time.sleep(LOOK_EVERY_S)
    return None


def announce(
    hold: Hold, show: Callable[[], dict[str, JsonValue]], *, may_be_shown: Callable[[Exception], bool]
) -> None:
    """Show a held job in its system, then let the workers have it.

    `show` returns what a later attempt must find again. An error that it raises ends the call: the job is withdrawn,
    since the caller learns of the error. If `may_be_shown` returns True for the error, the job stays: the
    system may show it as queued, and only a worker can bring that to an end.
    """
    try:
        noted = show()
    except Exception as error:
        if may_be_shown(error):
            hold.release()
            log.warning("queued without a result on the slide", job=hold.job.id, app=hold.job.app_id)
        else:
            hold.withdraw()
        raise
    try:
        hold.note(noted)
    except (OSError, QueueError) as error:
        # The system shows the job, so it must run; its worker looks for what was shown.
        log.warning("result not noted", job=hold.job.id, reason=str(error))
    try:
        hold.release()
    except QueueError as error:
        # The job is durable, and the queue releases it as soon as it can.
        log.warning("released later", job=hold.job.id, reason=str(error))
    log.info("queued", job=hold.job.id, app=hold.job.app_id, trigger=hold.job.trigger)
