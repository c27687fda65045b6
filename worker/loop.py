"""A worker's life: it claims a job, attempts it, and claims the next one."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from slidehook.errors import ClaimLost, QueueError, SlidehookError
from slidehook.jobs.contract import Claim, JobSource
from slidehook.jobs.job import JobState
from slidehook.running.app_process import AppProcess
from slidehook.running.chain import CodeChanged
from slidehook.systems import SystemUnknown
from worker.attempt import Attempt
from worker.claims import PatientClaim
from worker.context import WorkerContext
from worker.shutdown import WorkerLeaving

IDLE_WAIT_S = 1.0
"""The longest wait of an idle worker before it looks for dead workers' jobs, in seconds."""
UPKEEP_EVERY_S = 3600.0
"""How often a worker removes old data, in seconds."""
QUEUE_AWAY_WAIT_S = 2.0
"""How long a worker waits while the queue can't be reached, in seconds."""

log = structlog.get_logger()


def _in_passing(what: str, do: Callable[[], None]) -> None:
    """Do what no job waits for; a failure is logged, because it is done another time."""
    try:
        do()
    except (OSError, SlidehookError) as error:
        log.warning("broke off, and is done another time", what=what, reason=str(error))


class Worker:
    """Works on the jobs of one queue, one after the other, until it is told to leave.

    `upkeep` is called now and then between two jobs, `drop_dead` when the worker that had a job before may have left
    data here.
    """

    def __init__(
        self,
        context: WorkerContext,
        source: JobSource,
        *,
        upkeep: Callable[[], None],
        drop_dead: Callable[[], None],
    ) -> None:
        self._context = context
        self._source = source
        self._upkeep = upkeep
        self._drop_dead = drop_dead
        self._leaving = context.leaving
        self._process: AppProcess | None = None
        self._kept_at = float("-inf")

    def run(self, *, drain: bool = False) -> bool:
        """Work until the worker is told to leave; with `drain`, until no job is left that can run.

        Returns True when the apps have changed on disk: a new process that loads the new ones must go on.
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
                    # Whatever is in the queue or in the data, this worker goes on.
                    log.exception("slidehook has a fault of its own")
                    self._leaving.wait(QUEUE_AWAY_WAIT_S)
        finally:
            if self._process is not None:
                self._process.kill()
            self._context.workspace.leave()
        return False

    def _apps_changed(self) -> bool:
        """Check for changes right before a job is claimed, so that no job begins with old code."""
        what = self._context.registry.changed()
        if what is not None:
            log.warning("apps changed on disk, the worker starts anew with what is there now", changed=what)
        return what is not None

    def _step(self, *, drain: bool) -> bool:
        """Work on one job, or wait for one; False when a draining worker has nothing left to do."""
        if time.monotonic() - self._kept_at >= UPKEEP_EVERY_S:
            self._kept_at = time.monotonic()
            _in_passing("upkeep", self._upkeep)
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
        """Return the process that runs apps; the first one is started before there is a job."""
        if self._process is not None and not self._process.alive:
            self._process.kill()  # its own child processes may live on
            self._process = None
        if self._process is None:
            self._process = AppProcess(self._context.settings)
        return self._process

    def _work(self, claim: Claim) -> None:
        with structlog.contextvars.bound_contextvars(job=claim.job.id):
            log.info("claimed", app=claim.job.app_id, attempt=claim.attempt)
            try:
                if claim.attempt > 1:
                    _in_passing("removing dead workers' data", self._drop_dead)
                self._attempt(PatientClaim(claim, self._leaving))
            except ClaimLost as error:
                log.warning("claim lost, the work is dropped", reason=str(error))
            finally:
                self._context.workspace.drop_slide(claim.job.id)

    def _attempt(self, claim: PatientClaim) -> None:
        """Attempt the job. An unforeseen failure ends it as failed, without a word on its slide."""
        try:
            Attempt(claim, self._context, self._child).run()
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
