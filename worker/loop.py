"""The worker's life: claim, attempt, say how it ended, again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import structlog

from slidehook.app import App
from slidehook.errors import ClaimLost, DpatError, DpatUnavailable, QueueError, SlidehookError, TokenExpired
from slidehook.iaapi.client import DpatServers
from slidehook.jobs.job import JobState
from slidehook.jobs.queue import Claim, JobSource
from slidehook.registry import Registry
from slidehook.settings import Settings
from worker.analysis import AppProcess
from worker.attempt import Attempt, JobCancelled
from worker.leaving import Leaving, WorkerLeaving
from worker.publisher import Publisher, ResultDeletedByUser
from worker.workspace import Workspace

IDLE_WAIT_S = 1.0
"""How long an idle worker waits at most before it looks for dead workers' jobs, in seconds."""
UPKEEP_EVERY_S = 3600.0
"""How often a worker removes what is no longer kept, in seconds."""
QUEUE_AWAY_WAIT_S = 2.0
"""How long a worker waits that can't reach the queue, in seconds."""
DPAT_TRIES = 4
"""How often a call to DPAT is tried before the attempt counts as failed."""
RETRY_S = 5.0
RETRY_MOST_S = 300.0

log = structlog.get_logger()


def retry_wait_s(attempt: int, chance: float) -> float:
    """Say how long a failed attempt's job waits: growing with each, spread by `chance` (0…1)."""
    return float(min(RETRY_S * 2 ** (attempt - 1), RETRY_MOST_S) * (0.5 + chance))


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
        *,
        leaving: Leaving,
        upkeep: Callable[[], None],
        drop_dead: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._source = source
        self._registry = registry
        self._workspace = workspace
        self._servers = DpatServers(settings)
        self._process: AppProcess | None = None
        self._leaving = leaving
        self._upkeep = upkeep
        self._drop_dead = drop_dead
        self._kept_at = float("-inf")

    def run(self, *, drain: bool = False) -> None:
        """Work until it is to leave; with `drain`, until no job is left that has not ended."""
        self._child()
        away = False
        try:
            while not self._leaving.asked:
                try:
                    if not self._step(drain=drain):
                        return
                    away = False
                except QueueError as error:
                    if not away:
                        log.error("the queue can't be reached, waiting", reason=str(error))
                    away = True
                    self._leaving.wait(QUEUE_AWAY_WAIT_S)
        finally:
            if self._process is not None:
                self._process.kill()
            self._workspace.leave()

    def _step(self, *, drain: bool) -> bool:
        """Work on one job, or wait for one; False when a draining worker has nothing left to do."""
        if time.monotonic() - self._kept_at >= UPKEEP_EVERY_S:
            self._kept_at = time.monotonic()
            self._upkeep()
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
        if self._process is None or not self._process.alive:
            self._process = AppProcess(self._settings)
        return self._process

    def _work(self, claim: Claim) -> None:
        with structlog.contextvars.bound_contextvars(job=claim.job.id):
            began = time.monotonic()
            log.info("claimed", app=claim.job.app_id, attempt=claim.attempt)
            try:
                if claim.attempt > 1:
                    self._drop_dead()
                self._attempt(claim, began)
            except ClaimLost as error:
                log.warning("claim lost, the work is dropped", reason=str(error))
            finally:
                self._workspace.drop_slide(claim.job.id)

    def _attempt(self, claim: Claim, began: float) -> None:
        app = self._registry[claim.job.app_id]
        token = claim.token()
        if token is None:
            self._park(claim, "the job has no access token any more")
            return
        publisher = Publisher(claim, app, self._servers.at(claim.job.callback_url).client(token, tries=DPAT_TRIES))
        try:
            self._try(claim, app, token, publisher, began)
        except (ClaimLost, QueueError):
            raise
        except WorkerLeaving:
            claim.give_back()
            log.info("given back")
        except (JobCancelled, ResultDeletedByUser) as error:
            self._cancelled(claim, publisher, error)
        except TokenExpired as error:
            self._without_access(claim, token, error)
        except SlidehookError as error:
            self._failed(claim, publisher, error, began)
        except Exception as error:
            # The one broad handler: whatever it was, this worker goes on to the next job.
            log.exception("slidehook has a fault of its own")
            self._give_up(claim, publisher, f"slidehook has a fault of its own: {type(error).__name__}", began)

    def _try(self, claim: Claim, app: App, token: str, publisher: Publisher, began: float) -> None:
        if claim.exhausted:
            tried = claim.attempt - 1
            reason = f"gave up after {tried} attempt{'s' if tried > 1 else ''}: {claim.last_reason}"
            self._give_up(claim, publisher, reason, began)
            return
        attempt = Attempt(
            claim,
            app=app,
            client=self._servers.at(claim.job.callback_url).client(token, tries=DPAT_TRIES),
            publisher=publisher,
            workspace=self._workspace,
            settings=self._settings,
            leaving=self._leaving,
        )
        result = attempt.run(self._child())
        seconds = time.monotonic() - began
        claim.finish(JobState.DONE, result.text, seconds)
        log.info("done", result=result.text, s=f"{seconds:.1f}")

    def _cancelled(self, claim: Claim, publisher: Publisher, why: SlidehookError) -> None:
        """End the job as cancelled, and say so on its slide unless the user deleted the result itself."""
        if isinstance(why, JobCancelled):
            try:
                publisher.cancelled()
            except DpatError as error:
                log.error("the slide can't be told", reason=str(error))
        claim.finish(JobState.CANCELLED, str(why))
        log.info("cancelled", reason=str(why))

    def _without_access(self, claim: Claim, token: str, error: TokenExpired) -> None:
        """Go on with a newer request's token where there is one, else wait for one: nobody can be told."""
        if claim.token() not in {None, token}:
            claim.give_back()
            log.info("token refreshed, again")
        else:
            self._park(claim, str(error))

    def _park(self, claim: Claim, reason: str) -> None:
        claim.park(f"waiting for access: {reason}")
        log.warning("waiting for access", reason=reason)

    def _failed(self, claim: Claim, publisher: Publisher, error: SlidehookError, began: float) -> None:
        """Try again later what can be tried again, else say on the slide why not."""
        if error.retryable and claim.attempt < self._settings.max_attempts:
            wait_s = retry_wait_s(claim.attempt, random.random())  # noqa: S311 - spreads load, guards nothing
            publisher.waiting(f"waiting to try again: {error}")
            claim.retry(str(error), wait_s)
            log.warning("attempt failed, again later", reason=str(error), wait_s=f"{wait_s:.0f}")
        else:
            self._give_up(claim, publisher, str(error), began)

    def _give_up(self, claim: Claim, publisher: Publisher, reason: str, began: float) -> None:
        """End the job as failed, on the slide too unless DPAT can't be told."""
        try:
            publisher.failed(reason)
        except TokenExpired:
            # A slide that would stay "in progress" for ever is worse than a job that waits.
            self._park(claim, reason)
            return
        except DpatUnavailable as error:
            # Nor may the slide stay so because DPAT is away just now.
            wait_s = retry_wait_s(claim.attempt, random.random())  # noqa: S311
            claim.retry(f"{reason}; and the slide could not be told: {error}", wait_s)
            log.warning("failed, the slide is told later", reason=reason, wait_s=f"{wait_s:.0f}")
            return
        except DpatError as error:
            log.error("the slide can't be told", reason=str(error))
        claim.finish(JobState.FAILED, reason, time.monotonic() - began)
        log.error("failed", reason=reason)
