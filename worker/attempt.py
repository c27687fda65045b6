"""One attempt at one job, from the claim to what becomes of the job: it ends, waits, or goes back to the queue."""

from __future__ import annotations

import time

import structlog

from slidehook.backoff import Backoff
from slidehook.errors import (
    AccessExpired,
    AppError,
    CannotStore,
    ClaimLost,
    QueueError,
    ResultDeleted,
    SlidehookError,
    SystemFault,
    SystemUnavailable,
)
from slidehook.jobs.job import AttemptEnded, JobState
from slidehook.running.chain import CodeChanged
from slidehook.systems import Access, Done, OriginTicket
from worker.analysis import SlideAnalysis
from worker.claims import ClaimMonitor, JobCancelled, PatientClaim, check_wanted
from worker.context import Child, WorkerContext
from worker.job_secrets import JobSecrets
from worker.publisher import Publisher
from worker.shutdown import TooSlow, WorkerLeaving, check_abandoned

CANCEL_S, CANCEL_AGAIN_S = 1.0, 10.0
"""Time allowed to store a cancellation, in seconds: at once, and at each later try."""
RETRY_BACKOFF = Backoff(first_s=5.0, most_s=300.0)
"""How long a job waits after a failed attempt."""

log = structlog.get_logger()


class Attempt:
    """One attempt at one claimed job. `child` returns the process that runs apps."""

    def __init__(self, claim: PatientClaim, context: WorkerContext, child: Child) -> None:
        """Prepare the attempt; raises SystemUnknown, and what `claim.secret` raises."""
        job, app = claim.job, context.registry[claim.job.app_id]
        self._claim = claim
        self._context = context
        self._began = time.monotonic()
        self._secrets = JobSecrets(claim)
        system = context.systems[job.system]
        destination = system.destination(job.address, job, app, Access(self._secrets, self._prove))
        self._publisher = Publisher(claim, destination, leaving=context.leaving)
        ticket = OriginTicket(job.system, job.address, job.slide_id, job.app_id)
        origin = system.origin(ticket, Access(self._secrets, check_abandoned))
        self._analysis = SlideAnalysis(claim, origin, self._publisher, context, child)

    def _prove(self) -> None:
        """Prove the claim before each call that changes what users see, even if that call is a repetition."""
        check_abandoned()
        self._claim.check()

    def run(self) -> None:
        """Work on the job, and record what becomes of it.

        Raises WorkerLeaving and CodeChanged when the job must be given back, ClaimLost, and QueueError.
        """
        with self._publisher:
            try:
                self._work_unless_stopped()
            except AccessExpired as error:
                self._park(str(error))

    def _work_unless_stopped(self) -> None:
        within_s = CANCEL_AGAIN_S
        try:
            check_wanted(self._claim)
            within_s = CANCEL_S
            self._work_or_fail()
        except (JobCancelled, ResultDeleted) as why:
            self._stop(why, within_s=within_s)

    def _work_or_fail(self) -> None:
        try:
            self._work()
        except (QueueError, WorkerLeaving, CodeChanged, AccessExpired, JobCancelled, ResultDeleted):
            raise
        except SlidehookError as error:
            self._retry_or_give_up(error)
        except Exception as error:
            # The one broad handler: whatever it was, this worker goes on to the next job.
            log.exception("slidehook has a fault of its own")
            self._give_up(f"slidehook has a fault of its own: {type(error).__name__}")

    def _work(self) -> None:
        claim = self._claim
        if claim.exhausted:
            tried = claim.attempt - 1
            self._give_up(f"gave up after {tried} attempt{'s' if tried > 1 else ''}: {claim.last_reason}")
            return
        with ClaimMonitor(claim.now, self._context.leaving):
            done = self._analysis.result()
            self._publisher.done(done)
            self._follow_up(done)
        seconds = time.monotonic() - self._began
        claim.finish(JobState.DONE, done.result.text, seconds)
        self._context.workspace.drop_result(claim.job.id)
        log.info("done", result=done.result.text, s=f"{seconds:.1f}")

    def _follow_up(self, done: Done) -> None:
        """Do what follows the result, which is stored already: no failure here may undo the job."""
        try:
            self._publisher.follow_up(done)
        except ClaimLost:
            raise
        except (WorkerLeaving, JobCancelled, QueueError) as why:
            log.warning("the result is stored, but what follows it is not done", reason=str(why))

    # --- what becomes of a job that is not done

    def _stop(self, why: SlidehookError, *, within_s: float) -> None:
        """End the job as cancelled, and show that unless the user deleted the result."""
        claim, stands = self._claim, None
        if isinstance(why, JobCancelled):
            claim.check()  # first: the wait for the queue must not use up the system's time
            try:
                stands = self._publisher.cancelled(within_s=within_s)
            except AccessExpired as error:
                raise AccessExpired(f"{why}; {error}") from error
            except (SystemUnavailable, TooSlow) as error:
                self._show_later(str(why), error)
                return
            except SystemFault as error:
                log.error("the end of the job can't be shown", reason=str(error))
        self._publisher.abandon()
        if stands is not None:
            claim.finish(JobState.DONE, stands)
            log.info("done before it could be cancelled", result=stands)
            return
        claim.finish(JobState.CANCELLED, str(why))
        log.info("cancelled", reason=str(why))

    def _park(self, reason: str) -> None:
        """Let the job wait for a newer secret; if there is one already, only until a worker is free."""
        self._publisher.close()
        if self._secrets.close():
            self._claim.retry(f"access was refused, and asked for anew since: {reason}", 0, counted=False)
            log.info("a newer request came meanwhile, again at once", reason=reason)
            return
        self._claim.park(f"waiting for access: {reason}")
        log.warning("waiting for access", reason=reason)

    def _retry_or_give_up(self, error: SlidehookError) -> None:
        """Let the job wait for its next attempt if that can help, else end it as failed."""
        claim = self._claim
        last = claim.attempt >= self._context.settings.max_attempts
        trace = error.trace if isinstance(error, AppError) else ""
        is_away = isinstance(error, SystemUnavailable) and error.is_away
        if not error.retryable or (last and not is_away and not isinstance(error, CannotStore)):
            self._give_up(str(error), trace)
            return
        with ClaimMonitor(claim.now, self._context.leaving):
            shown = self._publisher.waiting(f"waiting to try again: {error}")
        # A full disk, and a system that is away for everything, are not the job's fault, and may last for days.
        counted = not isinstance(error, CannotStore) and (shown or not is_away)
        if last and counted:
            self._give_up(str(error), trace)
            return
        wait_s = self._wait_s(error)
        claim.retry(str(error), wait_s, counted=counted, trace=trace)
        log.warning("attempt failed, again later", reason=str(error), wait_s=f"{wait_s:.0f}")

    def _give_up(self, reason: str, trace: str = "") -> None:
        """End the job as failed, and show that if the system allows it."""
        try:
            with ClaimMonitor(self._claim.now, self._context.leaving):
                self._publisher.failed(reason)
        except ResultDeleted:
            raise
        except AccessExpired as error:
            # A job that waits is better than a slide that shows "in progress" for ever.
            raise AccessExpired(reason) from error
        except SystemUnavailable as error:
            self._show_later(reason, error, trace)
            return
        except SystemFault as error:
            log.error("the end of the job can't be shown", reason=str(error))
        self._context.workspace.drop_result(self._claim.job.id)  # an operator's retry is a new analysis
        self._claim.finish(JobState.FAILED, reason, time.monotonic() - self._began, trace=trace)
        log.error("failed", reason=reason)

    def _show_later(self, reason: str, error: SlidehookError, trace: str = "") -> None:
        """Let the job wait, so that its slide does not show "in progress" for ever."""
        wait_s = self._wait_s(error)
        self._claim.retry(f"{reason}; and the slide could not be told: {error}", wait_s, trace=trace)
        log.warning("the end of the job is shown later", reason=reason, wait_s=f"{wait_s:.0f}")

    def _wait_s(self, error: SlidehookError) -> float:
        """Return how long the job waits: longer after each attempt, and at least as long as the system asked for."""
        tried = sum(isinstance(each, AttemptEnded) for each in self._claim.record.events) + 1
        asked_s = error.retry_after_s if isinstance(error, SystemUnavailable) else 0.0
        return max(RETRY_BACKOFF.wait_s(tried), min(asked_s, RETRY_BACKOFF.most_s))
