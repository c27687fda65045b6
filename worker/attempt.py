"""One attempt at one job, from the claim to the final result."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from slidehook.dpat.iaapi.client import DpatClient
from slidehook.dpat.quality import set_quality
from slidehook.dpat.stored_result import frame_of
from slidehook.errors import CannotStore, ClaimLost, QueueError
from slidehook.jobs.contract import Claim
from slidehook.models import ImageInfo
from slidehook.pixels.bounds import qupath_origin
from slidehook.registry.fingerprint import fingerprint_of
from slidehook.registry.registry import Registry
from slidehook.result import Quality, Result
from slidehook.results.budget import within_limits
from slidehook.results.geojson import geojson_of
from slidehook.running.app_process import AppProcess
from slidehook.running.chain import Chain
from slidehook.running.task import Analysis
from slidehook.settings import Settings
from slidehook.systems import OriginTicket
from worker.claim_monitor import JobCancelled
from worker.publisher import Publisher
from worker.result_cache import CachedResult, keep, kept
from worker.shutdown import Interruption, WorkerLeaving
from worker.slide_fetcher import END, SlideFetcher
from worker.tokens import InterruptibleTokens, JobTokens
from worker.workspace import Workspace

STARTED, ANALYSIS = 5, END
"""The percentages at which the attempt and its apps begin; in the rest, the apps say how far they are."""

log = structlog.get_logger()


class Attempt:
    """Analyses one claimed slide. `run` raises a SlidehookError when it can't.

    `quality_client` gives a client for the slide's quality control: it proves the claim before each call, and its
    time, which begins when it is made, is short.
    """

    def __init__(
        self,
        claim: Claim,
        *,
        registry: Registry,
        client: DpatClient,
        quality_client: Callable[[], DpatClient],
        tokens: JobTokens,
        publisher: Publisher,
        workspace: Workspace,
        settings: Settings,
        leaving: Interruption,
    ) -> None:
        self._job = claim.job
        self._image_info = claim.record.image_info
        self._app = registry[claim.job.app_id]
        self._registry = registry
        self._client = client
        self._quality_client = quality_client
        self._tokens = tokens
        self._publisher = publisher
        self._workspace = workspace
        self._settings = settings
        self._leaving = leaving

    def run(self, child: Callable[[], AppProcess]) -> str:
        """Fetch the slide, have it analysed in a `child`, and store the final result at DPAT; gives its text.

        What an earlier attempt found here, and could not store, is stored as it is.
        """
        rests_on = fingerprint_of([*self._registry.before(self._app), self._app])
        finding = kept(self._workspace, self._job.id, self._app, rests_on)
        if finding is None:
            self._publisher.progress(STARTED, "analysis started")
        else:
            log.info("analysed before, only to be stored")
        info = self._metadata()
        finding = finding or self._find(child, info)
        self._publisher.done(finding.record)
        if finding.quality is not None:
            self._set_quality(info, finding.quality)
        return finding.record.display_result

    def _set_quality(self, info: ImageInfo, quality: Quality) -> None:
        """Set the slide's quality control; the result is stored, so nothing that hinders this undoes the job."""
        try:
            self._leaving.run(lambda: set_quality(self._quality_client(), self._app, info, quality))
        except ClaimLost:
            raise
        except (WorkerLeaving, JobCancelled, QueueError) as why:
            log.warning("quality control not set", app=self._app.id, reason=str(why))

    def _find(self, child: Callable[[], AppProcess], info: ImageInfo) -> CachedResult:
        """Have the slide analysed, and keep what is found until it is stored."""
        found = self._analyse(child, info)
        # Of a large result this takes seconds.
        record = self._leaving.run(lambda: self._publisher.final(self._trimmed(found), found.frame), leave=False)
        finding = CachedResult(record=record, quality=found.result.quality, rests_on=found.rests_on)
        keep(self._workspace, self._job.id, finding)
        return finding

    def _trimmed(self, found: Analysis) -> Result:
        """Give as much of the result as DPAT can show; all of it is kept here."""
        try:
            geojson = geojson_of(found.result, self._app.name, origin=qupath_origin(found.bounds))
            self._workspace.keep(self._job.id, "result.geojson", geojson)
        except CannotStore as error:
            log.warning("the whole result is not kept here", reason=str(error))
        return within_limits(self._app, found.result, mpp=found.mpp)

    def _analyse(self, child: Callable[[], AppProcess], info: ImageInfo) -> Analysis:
        """Fetch what the apps need, and run them."""

        def progress(percent: float, text: str) -> None:
            shown = ANALYSIS + (100 - ANALYSIS) * percent / 100
            log.info("progress", percent=round(shown), text=text)
            self._publisher.progress(shown, text)

        job = self._job
        chain = Chain(
            OriginTicket(job.system, job.address, job.slide_id, job.app_id),
            job.input,
            # What was found before an import may be of other files.
            since=job.created_at if job.trigger == "import" else 0.0,
            registry=self._registry,
            secrets=InterruptibleTokens(self._tokens, self._leaving),
            dependency_cache=self._workspace.dependency_cache,
            settings=self._settings,
            child=child,
            progress=progress,
            tick=self._tick,
        )
        apps, before = chain.left(info)
        fetcher = SlideFetcher(
            self._job, self._client, self._publisher, self._workspace, leaving=self._leaving, settings=self._settings
        )
        return chain.run(apps, fetcher.get(info, apps), before)

    def _metadata(self) -> ImageInfo:
        phi = self._settings.store_phi
        info = self._image_info
        if info is None:
            info = self._leaving.run(lambda: self._client.slide_info(self._job.slide_id, include_phi=phi))
        info = info if phi else info.without_phi()
        self._workspace.keep(self._job.id, "metadata.json", info.model_dump_json(by_alias=True, indent=1).encode())
        if (frame := frame_of(info)) is not None:
            self._publisher.extent(frame)
        log.info("metadata stored")
        return info

    def _tick(self) -> None:
        """Do what is due while something long goes on."""
        self._leaving.check()
        self._publisher.flush()
