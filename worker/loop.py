"""The worker's life: claim, attempt, say how it ended, again."""

from __future__ import annotations

import random
import threading
import time

import structlog

from slidehook.errors import ClaimLost, DpatError, SlidehookError
from slidehook.iaapi.client import DpatServers
from slidehook.jobs.job import JobState
from slidehook.jobs.queue import Claim, JobSource
from slidehook.registry import Registry
from slidehook.settings import Settings
from worker.analysis import AppProcess
from worker.attempt import Attempt, WorkerLeaving
from worker.publisher import Publisher, ResultDeletedByUser
from worker.workspace import Workspace

IDLE_WAIT_S = 1.0
"""How long an idle worker waits at most before it looks for dead workers' jobs, in seconds."""
DPAT_TRIES = 4
"""How often a call to DPAT is tried before the attempt counts as failed."""
RETRY_S = 5.0
RETRY_MOST_S = 300.0

log = structlog.get_logger()


def retry_wait_s(attempt: int, chance: float) -> float:
    """Say how long a failed attempt's job waits: growing with each, spread by `chance` (0…1)."""
    return float(min(RETRY_S * 2 ** (attempt - 1), RETRY_MOST_S) * (0.5 + chance))


class Worker:
    """Works on the jobs of one queue, one after the other, until it is stopped."""

    def __init__(self, settings: Settings, source: JobSource, registry: Registry, workspace: Workspace) -> None:
        self._settings = settings
        self._source = source
        self._registry = registry
        self._workspace = workspace
        self._servers = DpatServers(settings)
        self._process: AppProcess | None = None
        self._stop = threading.Event()

    def stop(self) -> None:
        """Leave soon: a job that is being worked on goes back to the queue."""
        self._stop.set()

    def run(self, *, drain: bool = False) -> None:
        """Work until `stop`; with `drain`, until no job is left that has not ended."""
        self._child()
        try:
            while not self._stop.is_set():
                claim = self._source.claim()
                if claim is not None:
                    self._work(claim)
                elif drain and self._source.unfinished() == 0:
                    log.info("the queue is empty")
                    return
                else:
                    self._source.wait(IDLE_WAIT_S)
        finally:
            if self._process is not None:
                self._process.kill()
            self._workspace.leave()

    def _child(self) -> AppProcess:
        """Give the child that runs apps; the next one is started while there is nothing to do yet."""
        if self._process is None or not self._process.alive:
            self._process = AppProcess(self._settings)
        return self._process

    def _work(self, claim: Claim) -> None:
        with structlog.contextvars.bound_contextvars(job=claim.job.id):
            began = time.monotonic()
            log.info("claimed", app=claim.job.app_id, attempt=claim.attempt)
            try:
                self._try(claim, began)
            except ClaimLost as error:
                log.warning("claim lost, the work is dropped", reason=str(error))
            except Exception as error:
                # The one broad handler: whatever it was, this worker goes on to the next job.
                log.exception("attempt failed by a fault of slidehook's own")
                self._give_up(claim, None, f"slidehook has a fault of its own: {type(error).__name__}", began)
            finally:
                self._workspace.drop_slide(claim.job.id)

    def _try(self, claim: Claim, began: float) -> None:
        app = self._registry.get(claim.job.app_id)
        if app is None:
            log.error("app not installed here", app=claim.job.app_id)
            claim.finish(JobState.FAILED, f"the app {claim.job.app_id} is not installed on this worker")
            return
        client = self._servers.at(claim.job.callback_url).client(claim.token(), tries=DPAT_TRIES)
        publisher = Publisher(claim, app, client)
        if claim.exhausted:
            reason = f"gave up after {claim.attempt - 1} attempts: {claim.last_reason}"
            self._give_up(claim, publisher, reason, began)
            return
        try:
            attempt = Attempt(
                claim,
                app=app,
                client=client,
                publisher=publisher,
                workspace=self._workspace,
                settings=self._settings,
                stopping=self._stop,
            )
            result = attempt.run(self._child())
            seconds = time.monotonic() - began
            claim.finish(JobState.DONE, result.text, seconds)
            log.info("done", result=result.text, s=f"{seconds:.1f}")
        except ResultDeletedByUser as error:
            claim.finish(JobState.CANCELLED, str(error))
            log.info("cancelled", reason=str(error))
        except WorkerLeaving:
            claim.give_back()
            log.info("given back")
        except ClaimLost:
            raise
        except SlidehookError as error:
            self._failed(claim, publisher, error, began)

    def _failed(self, claim: Claim, publisher: Publisher, error: SlidehookError, began: float) -> None:
        """Try again later what can be tried again, else say on the slide why not."""
        if error.retryable and claim.attempt < self._settings.max_attempts:
            wait_s = retry_wait_s(claim.attempt, random.random())  # noqa: S311 - spreads load, guards nothing
            publisher.waiting(f"waiting to try again: {error}")
            claim.retry(str(error), wait_s)
            log.warning("attempt failed, again later", reason=str(error), wait_s=f"{wait_s:.0f}")
        else:
            self._give_up(claim, publisher, str(error), began)

    def _give_up(self, claim: Claim, publisher: Publisher | None, reason: str, began: float) -> None:
        """End the job as failed, on the slide too unless DPAT can't be told."""
        if publisher is None and (app := self._registry.get(claim.job.app_id)) is not None:
            client = self._servers.at(claim.job.callback_url).client(claim.token(), tries=DPAT_TRIES)
            publisher = Publisher(claim, app, client)
        try:
            if publisher is not None:
                publisher.failed(reason)
        except DpatError as error:
            log.error("the slide can't be told", reason=str(error))
        claim.finish(JobState.FAILED, reason, time.monotonic() - began)
        log.error("failed", reason=reason)
