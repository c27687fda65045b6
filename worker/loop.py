"""The worker's life: claim, attempt, say how it ended, again."""

from __future__ import annotations

import time
from collections.abc import Callable

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
from slidehook.jobs.contract import Claim, JobSource
from slidehook.jobs.job import AttemptEnded, JobState
from slidehook.registry.registry import Registry
from slidehook.running.app_process import AppProcess
from slidehook.running.chain import CodeChanged
from slidehook.settings import Settings
from slidehook.systems import Access, OriginTicket, Systems, SystemUnknown
from worker.attempt import Attempt
from worker.claim_monitor import ClaimMonitor, JobCancelled, check_wanted
from worker.job_secrets import JobSecrets
from worker.patient_claim import PatientClaim
from worker.publisher import Publisher
from worker.result_cache import forget
from worker.shutdown import Interruption, TooSlow, WorkerLeaving, check_abandoned
from worker.workspace import Workspace

IDLE_WAIT_S = 1.0
"""How long an idle worker waits at most before it looks for dead workers' jobs, in seconds."""
UPKEEP_EVERY_S = 3600.0
"""How often a worker removes what is no longer kept, in seconds."""
QUEUE_AWAY_WAIT_S = 2.0
"""How long a worker waits that can't reach the queue, in seconds."""
TELL_S, TELL_AGAIN_S = 1.0, 10.0
"""How long the slide of a job that is stopped may take to be told so, in seconds: at once, and at each later try."""
RETRY_BACKOFF = Backoff(first_s=5.0, most_s=300.0)
"""How long the job of a failed attempt waits."""

log = structlog.get_logger()


def _on_the_side(what: str, do: Callable[[], None]) -> None:
    """Do what no job waits for; where it fails, it is done another time."""
    try:
        do()
    except (OSError, SlidehookError) as error:
        log.warning("broke off, and is done another time", what=what, reason=str(error))


class Worker:
    """Works on the jobs of one queue, one after the other, until it is to leave.

    `leaving` says when to leave: a job that is being worked on goes back to the queue. `upkeep` is called now and
    then between two jobs, `drop_dead` when a job comes from a worker that may have left data here.
    """

    def __init__(
        self,
        settings: Settings,
        source: JobSource,
        registry: Registry,
        workspace: Workspace,
        systems: Systems,
        *,
        leaving: Interruption,
        upkeep: Callable[[], None],
        drop_dead: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._source = source
        self._registry = registry
        self._workspace = workspace
        self._systems = systems
        self._process: AppProcess | None = None
        self._leaving = leaving
        self._upkeep = upkeep
        self._drop_dead = drop_dead
        self._kept_at = float("-inf")

    def run(self, *, drain: bool = False) -> bool:
        """Work until it is to leave; with `drain`, until no job is left that has not ended.

        True when the apps have changed on disk: this process is to be replaced by one that has the new ones.
        """
        self._child()
        away = False
        try:
            while not self._leaving.asked:
                try:
                    if self._apps_changed():
                        return True
                    if not self._step(drain=drain):
                        break
                    away = False
                except QueueError as error:
                    if not away:
                        log.error("the queue can't be reached, waiting", reason=str(error))
                    away = True
                    self._leaving.wait(QUEUE_AWAY_WAIT_S)
                except Exception:
                    # Whatever lies in the queue or in the data, this worker goes on.
                    log.exception("slidehook has a fault of its own")
                    self._leaving.wait(QUEUE_AWAY_WAIT_S)
        finally:
            if self._process is not None:
                self._process.kill()
            self._workspace.leave()
        return False

    def _apps_changed(self) -> bool:
        """Look for changes right before a job is claimed, so that no job begins with code from before."""
        what = self._registry.changed()
        if what is not None:
            log.warning("apps changed on disk, the worker starts anew with what is there now", changed=what)
        return what is not None

    def _step(self, *, drain: bool) -> bool:
        """Work on one job, or wait for one; False when a draining worker has nothing left to do."""
        if time.monotonic() - self._kept_at >= UPKEEP_EVERY_S:
            self._kept_at = time.monotonic()
            _on_the_side("upkeep", self._upkeep)
        claim = self._source.claim()
        if claim is not None:
            self._work(claim)
        elif drain and self._source.unfinished() == 0:
            log.info("nothing left to work on")
            return False
        else:
            self._source.wait(IDLE_WAIT_S)
        return True

    def _child(self) -> AppProcess:
        """Give the child that runs apps; the first is started before there is anything to do."""
        if self._process is not None and not self._process.alive:
            self._process.kill()  # what it has started may live on
            self._process = None
        if self._process is None:
            self._process = AppProcess(self._settings)
        return self._process

    def _work(self, claim: Claim) -> None:
        with structlog.contextvars.bound_contextvars(job=claim.job.id):
            began = time.monotonic()
            log.info("claimed", app=claim.job.app_id, attempt=claim.attempt)
            try:
                if claim.attempt > 1:
                    _on_the_side("removing dead workers' data", self._drop_dead)
                self._attempt_or_end(PatientClaim(claim, self._leaving), began)
            except ClaimLost as error:
                log.warning("claim lost, the work is dropped", reason=str(error))
            finally:
                self._workspace.drop_slide(claim.job.id)

    def _attempt_or_end(self, claim: PatientClaim, began: float) -> None:
        """Attempt the job; one with which that fails in a way that nobody foresaw ends, untold, as failed."""
        try:
            self._attempt(claim, began)
        except (WorkerLeaving, CodeChanged) as why:
            claim.give_back()
            log.info("given back", reason=str(why))
        except SystemUnknown as error:
            claim.finish(JobState.FAILED, str(error))
            log.error("failed", reason=str(error))
        except QueueError:
            raise
        except Exception as error:
            log.exception("slidehook has a fault of its own")
            claim.finish(JobState.FAILED, f"slidehook has a fault of its own: {type(error).__name__}: {error}")

    def _attempt(self, claim: PatientClaim, began: float) -> None:
        def prove() -> None:
            check_abandoned()
            claim.check()

        job, secrets = claim.job, JobSecrets(claim)
        app, system = self._registry[job.app_id], self._systems[job.system]
        destination = system.destination(job.address, job, app, Access(secrets, prove))
        with Publisher(claim, destination, leaving=self._leaving) as publisher:
            try:
                self._bring_to_an_end(claim, publisher, secrets, began)
            except AccessExpired as error:
                self._park(claim, publisher, secrets, str(error))

    def _bring_to_an_end(self, claim: PatientClaim, publisher: Publisher, secrets: JobSecrets, began: float) -> None:
        """Try, and say how it ended; raises AccessExpired where nobody can be told that."""
        try:
            check_wanted(claim)
        except (JobCancelled, ResultDeleted) as error:
            self._stopped(claim, publisher, error, within_s=TELL_AGAIN_S)
            return
        try:
            self._try_or_fail(claim, publisher, secrets, began)
        except (JobCancelled, ResultDeleted) as error:
            self._stopped(claim, publisher, error, within_s=TELL_S)

    def _try_or_fail(self, claim: PatientClaim, publisher: Publisher, secrets: JobSecrets, began: float) -> None:
        try:
            self._try(claim, publisher, secrets, began)
        except (QueueError, WorkerLeaving, CodeChanged, AccessExpired, JobCancelled, ResultDeleted):
            raise
        except SlidehookError as error:
            self._failed(claim, publisher, error, began)
        except Exception as error:
            # The one broad handler: whatever it was, this worker goes on to the next job.
            log.exception("slidehook has a fault of its own")
            self._give_up(claim, publisher, f"slidehook has a fault of its own: {type(error).__name__}", began)

    def _try(self, claim: PatientClaim, publisher: Publisher, secrets: JobSecrets, began: float) -> None:
        if claim.exhausted:
            tried = claim.attempt - 1
            reason = f"gave up after {tried} attempt{'s' if tried > 1 else ''}: {claim.last_reason}"
            self._give_up(claim, publisher, reason, began)
            return
        job = claim.job
        ticket = OriginTicket(job.system, job.address, job.slide_id, job.app_id)
        attempt = Attempt(
            claim,
            registry=self._registry,
            origin=self._systems[job.system].origin(ticket, Access(secrets, check_abandoned)),
            publisher=publisher,
            workspace=self._workspace,
            settings=self._settings,
            leaving=self._leaving,
        )
        with ClaimMonitor(claim.now, self._leaving):
            text = attempt.run(self._child)
        seconds = time.monotonic() - began
        claim.finish(JobState.DONE, text, seconds)
        forget(self._workspace, claim.job.id)
        log.info("done", result=text, s=f"{seconds:.1f}")

    def _stopped(self, claim: PatientClaim, publisher: Publisher, why: SlidehookError, *, within_s: float) -> None:
        """End the job as cancelled, and say so on its slide unless the user deleted the result itself."""
        stands = None
        if isinstance(why, JobCancelled):
            claim.check()  # first: waiting for the queue is not DPAT's time
            try:
                stands = publisher.cancelled(within_s=within_s)
            except AccessExpired as error:
                raise AccessExpired(f"{why}; {error}") from error
            except (SystemUnavailable, TooSlow) as error:
                self._tell_later(claim, str(why), error)
                return
            except SystemFault as error:
                log.error("the slide can't be told", reason=str(error))
        publisher.abandon()
        if stands is not None:
            claim.finish(JobState.DONE, stands)
            log.info("done before it could be cancelled", result=stands)
            return
        claim.finish(JobState.CANCELLED, str(why))
        log.info("cancelled", reason=str(why))

    def _park(self, claim: PatientClaim, publisher: Publisher, secrets: JobSecrets, reason: str) -> None:
        """Let the job wait for a newer request's token, since nobody can be told; with such a token, no longer."""
        publisher.close()
        if secrets.close():
            claim.retry(f"access was refused, and asked for anew since: {reason}", 0, counted=False)
            log.info("a newer request came meanwhile, again at once", reason=reason)
            return
        claim.park(f"waiting for access: {reason}")
        log.warning("waiting for access", reason=reason)

    def _tell_later(self, claim: Claim, reason: str, error: SlidehookError, trace: str = "") -> None:
        """Let the job wait, since the slide may not stay "in progress" because DPAT is away, or busy, just now."""
        wait_s = self._wait_s(claim, error)
        claim.retry(f"{reason}; and the slide could not be told: {error}", wait_s, trace=trace)
        log.warning("the slide is told later", reason=reason, wait_s=f"{wait_s:.0f}")

    def _failed(self, claim: PatientClaim, publisher: Publisher, error: SlidehookError, began: float) -> None:
        """Try again later what can be tried again, else say on the slide why not."""
        last = claim.attempt >= self._settings.max_attempts
        trace = error.trace if isinstance(error, AppError) else ""
        if not error.retryable or (last and not isinstance(error, CannotStore | SystemUnavailable)):
            self._give_up(claim, publisher, str(error), began, trace)
            return
        with ClaimMonitor(claim.now, self._leaving):
            told = publisher.waiting(f"waiting to try again: {error}")
        # Neither this host's disk nor a DPAT that is away for everything is the job's fault: that may take days.
        counted = not isinstance(error, CannotStore) and (told or not isinstance(error, SystemUnavailable))
        if last and counted:
            self._give_up(claim, publisher, str(error), began, trace)
            return
        wait_s = self._wait_s(claim, error)
        claim.retry(str(error), wait_s, counted=counted, trace=trace)
        log.warning("attempt failed, again later", reason=str(error), wait_s=f"{wait_s:.0f}")

    def _wait_s(self, claim: Claim, error: SlidehookError) -> float:
        """Say how long the job waits after this attempt: the longer, the more came before; and as DPAT asked."""
        tried = sum(isinstance(each, AttemptEnded) for each in claim.record.events) + 1
        wait_s = RETRY_BACKOFF.wait_s(tried)
        asked_s = error.retry_after_s if isinstance(error, SystemUnavailable) else 0.0
        return max(wait_s, min(asked_s, RETRY_BACKOFF.most_s))

    def _give_up(self, claim: PatientClaim, publisher: Publisher, reason: str, began: float, trace: str = "") -> None:
        """End the job as failed, on the slide too unless DPAT can't be told."""
        try:
            with ClaimMonitor(claim.now, self._leaving):
                publisher.failed(reason)
        except ResultDeleted:
            raise
        except AccessExpired as error:
            # A slide that would stay "in progress" for ever is worse than a job that waits.
            raise AccessExpired(reason) from error
        except SystemUnavailable as error:
            self._tell_later(claim, reason, error, trace)
            return
        except SystemFault as error:
            log.error("the slide can't be told", reason=str(error))
        forget(self._workspace, claim.job.id)  # an operator who has it tried again wants it analysed
        claim.finish(JobState.FAILED, reason, time.monotonic() - began, trace=trace)
        log.error("failed", reason=reason)
