"""One attempt at one job, from the claim to the final result."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from slidehook.errors import CannotStore, ClaimLost, QueueError
from slidehook.jobs.contract import Claim
from slidehook.models import ImageInfo
from slidehook.pixels.bounds import qupath_origin
from slidehook.registry.fingerprint import fingerprint_of
from slidehook.registry.registry import Registry
from slidehook.results.geojson import geojson_of
from slidehook.running.app_process import AppProcess
from slidehook.running.chain import Chain
from slidehook.running.task import Analysis
from slidehook.settings import Settings
from slidehook.systems import Done, SlideOrigin
from worker.claim_monitor import JobCancelled
from worker.job_secrets import InterruptibleSecrets
from worker.publisher import Publisher
from worker.result_cache import CachedResult, keep, kept
from worker.shutdown import Interruption, WorkerLeaving
from worker.slide_fetcher import END, SlideFetcher
from worker.workspace import Workspace

STARTED, ANALYSIS = 5, END
"""The percentages at which the attempt and its apps begin; in the rest, the apps say how far they are."""

log = structlog.get_logger()


class Attempt:
    """Analyses one claimed slide. `run` raises a SlidehookError when it can't."""

    def __init__(
        self,
        claim: Claim,
        *,
        registry: Registry,
        origin: SlideOrigin,
        publisher: Publisher,
        workspace: Workspace,
        settings: Settings,
        leaving: Interruption,
    ) -> None:
        self._job = claim.job
        self._image_info = claim.record.image_info
        self._app = registry[claim.job.app_id]
        self._registry = registry
        self._origin = origin
        self._publisher = publisher
        self._workspace = workspace
        self._settings = settings
        self._leaving = leaving

    def run(self, child: Callable[[], AppProcess]) -> str:
        """Fetch the slide, have it analysed in a `child`, and publish the result; returns its text.

        A result of an earlier attempt, which could not be published, is published as it is.
        """
        rests_on = fingerprint_of([*self._registry.before(self._app), self._app])
        done = kept(self._workspace, self._job.id, self._app, rests_on)
        if done is None:
            self._publisher.progress(STARTED, "analysis started")
        else:
            log.info("analysed before, only to be stored")
        info = self._metadata()
        done = done or self._find(child, info)
        self._publisher.done(done)
        self._follow_up(done)
        return done.result.text

    def _follow_up(self, done: Done) -> None:
        """Do what follows a result; the result is stored, so nothing that hinders this undoes the job."""
        try:
            self._publisher.follow_up(done)
        except ClaimLost:
            raise
        except (WorkerLeaving, JobCancelled, QueueError) as why:
            log.warning("the result is stored, but what follows it is not done", reason=str(why))

    def _find(self, child: Callable[[], AppProcess], info: ImageInfo) -> Done:
        """Have the slide analysed, and keep the result until it is stored."""
        found = self._analyse(child, info)
        done = Done(found.result, found.frame, found.mpp, found.bounds)
        # This takes seconds for a large result.
        self._leaving.run(lambda: self._keep(done, found.rests_on), leave=False)
        return done

    def _keep(self, done: Done, rests_on: str) -> None:
        try:
            geojson = geojson_of(done.result, self._app.name, origin=qupath_origin(done.bounds))
            self._workspace.keep(self._job.id, "result.geojson", geojson)
        except CannotStore as error:
            log.warning("the whole result is not kept here", reason=str(error))
        keep(self._workspace, self._job.id, CachedResult(done, self._app.version, rests_on))

    def _analyse(self, child: Callable[[], AppProcess], info: ImageInfo) -> Analysis:
        """Fetch what the apps need, and run them."""

        def progress(percent: float, text: str) -> None:
            shown = ANALYSIS + (100 - ANALYSIS) * percent / 100
            log.info("progress", percent=round(shown), text=text)
            self._publisher.progress(shown, text)

        job = self._job
        chain = Chain(
            self._origin.for_child(),
            job.input,
            # What was found before an import may be of other files.
            since=job.created_at if job.trigger == "import" else 0.0,
            registry=self._registry,
            secrets=InterruptibleSecrets(self._origin.secrets_for_child(), self._leaving),
            dependency_cache=self._workspace.dependency_cache,
            settings=self._settings,
            child=child,
            progress=progress,
            tick=self._tick,
        )
        apps, before = chain.left(info)
        fetcher = SlideFetcher(
            self._job, self._origin, self._publisher, self._workspace, leaving=self._leaving, settings=self._settings
        )
        return chain.run(apps, fetcher.get(info, apps), before)

    def _metadata(self) -> ImageInfo:
        phi = self._settings.store_phi
        info = self._image_info
        if info is None:
            info = self._leaving.run(self._origin.info)
        info = info if phi else info.without_phi()
        self._workspace.keep(self._job.id, "metadata.json", info.model_dump_json(by_alias=True, indent=1).encode())
        self._publisher.describe(info)
        log.info("metadata stored")
        return info

    def _tick(self) -> None:
        """Do what is due while something long goes on."""
        self._leaving.check()
        self._publisher.flush()
