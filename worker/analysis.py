"""Analyses the slide of one job: reads its record, fetches its files, and runs its apps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from slidehook.app import App
from slidehook.errors import CannotStore
from slidehook.jobs.contract import Claim
from slidehook.models import ImageInfo
from slidehook.pixels.bounds import qupath_origin
from slidehook.registry.fingerprint import fingerprint_of
from slidehook.results.geojson import geojson_of
from slidehook.running.chain import Chain
from slidehook.running.fetched_slide import FetchedSlide, needs_files
from slidehook.running.task import Analysis
from slidehook.systems import Done, SlideOrigin
from worker.context import Child, WorkerContext
from worker.job_secrets import InterruptibleSecrets
from worker.publisher import Publisher
from worker.shutdown import check_abandoned
from worker.workspace import CachedResult

STARTED, DOWNLOAD, ANALYSIS = 5, 20, 50
"""The percentages at which a job, its download and its apps begin. From the last one on, the apps report progress."""
DOWNLOADING = "downloading the slide"

log = structlog.get_logger()


class SlideAnalysis:
    """The analysis of one claimed slide; its progress goes to `publisher`."""

    def __init__(
        self, claim: Claim, origin: SlideOrigin, publisher: Publisher, context: WorkerContext, child: Child
    ) -> None:
        self._job = claim.job
        self._image_info = claim.record.image_info
        self._origin = origin
        self._publisher = publisher
        self._context = context
        self._workspace = context.workspace
        self._leaving = context.leaving
        self._app = context.registry[claim.job.app_id]
        self._child = child

    def result(self) -> Done:
        """Return the job's result: that of an earlier attempt if it could not be published, else a new one.

        Raises a SlidehookError when there is none.
        """
        fingerprint = fingerprint_of([*self._context.registry.before(self._app), self._app])
        kept = self._workspace.kept_result(self._job.id, self._app, fingerprint)
        if kept is None:
            self._publisher.progress(STARTED, "analysis started")
        else:
            log.info("analysed before, only to be stored")
        info = self._metadata()
        return kept or self._analysed(info)

    def _metadata(self) -> ImageInfo:
        phi = self._context.settings.store_phi
        info = self._image_info
        if info is None:
            info = self._leaving.run(self._origin.info)
        info = info if phi else info.without_phi()
        self._workspace.keep(self._job.id, "metadata.json", info.model_dump_json(by_alias=True, indent=1).encode())
        self._publisher.describe(info)
        log.info("metadata stored")
        return info

    def _analysed(self, info: ImageInfo) -> Done:
        """Run the apps, and keep the result until it is published."""
        chain = self._chain()
        apps, before = chain.left(info)
        found = chain.run(apps, self._fetched(info, apps), before)
        done = Done(found.result, found.frame, found.mpp, found.bounds)
        # This takes seconds for a large result.
        self._leaving.run(lambda: self._keep(done, found), leave=False)
        return done

    def _keep(self, done: Done, found: Analysis) -> None:
        try:
            geojson = geojson_of(done.result, self._app.name, origin=qupath_origin(done.bounds))
            self._workspace.keep(self._job.id, "result.geojson", geojson)
        except CannotStore as error:
            log.warning("the whole result is not kept here", reason=str(error))
        self._workspace.keep_result(self._job.id, CachedResult(done, self._app.version, found.rests_on))

    # --- the apps

    def _chain(self) -> Chain:
        job = self._job
        return Chain(
            self._origin.for_child(),
            job.input,
            # Earlier findings may be those of other files if the slide was imported again.
            since=job.created_at if job.trigger == "import" else 0.0,
            registry=self._context.registry,
            secrets=InterruptibleSecrets(self._origin.secrets_for_child(), self._leaving),
            dependency_cache=self._workspace.dependency_cache,
            settings=self._context.settings,
            child=self._child,
            progress=self._progress,
            tick=self._tick,
        )

    def _progress(self, percent: float, text: str) -> None:
        shown = ANALYSIS + (100 - ANALYSIS) * percent / 100
        log.info("progress", percent=round(shown), text=text)
        self._publisher.progress(shown, text)

    def _tick(self) -> None:
        self._leaving.check()
        self._publisher.flush()

    # --- the slide

    def _fetched(self, info: ImageInfo, apps: Sequence[App]) -> FetchedSlide:
        """Fetch what any of `apps` needs; the label only if it may be kept.

        Raises DiskFull before anything is fetched that would have to be stored where there is no room.
        """
        needs = {each for app in apps for each in app.needs}
        why_no_tiles = self._origin.no_tiles(info)
        wants_files = any(needs_files(app, has_tiles=not why_no_tiles) for app in apps)
        if needs & {"thumbnail", "label", "files"} or wants_files:
            self._workspace.check_room("the slide")
        thumbnail = self._workspace.job_folder(self._job.id) / "thumbnail.png" if "thumbnail" in needs else None
        label = self._label() if self._context.settings.store_phi and "label" in needs else None
        if why_no_tiles and wants_files and "files" not in needs:
            log.info("downloaded, not read in tiles", reason=why_no_tiles)
        path = self._file() if wants_files else None
        return FetchedSlide(info, path, thumbnail, label, has_tiles=not why_no_tiles)

    def _label(self) -> Path | None:
        label = self._leaving.run(self._origin.label)
        if label is None:
            return None
        log.info("label fetched")
        return self._workspace.keep(self._job.id, "label.jpg", label)

    def _file(self) -> Path:
        """Return the file that OpenSlide opens, and download the slide if it is not at hand."""
        if self._origin.is_at_hand:
            return self._files()[0]
        began = time.monotonic()
        files = self._files()
        size_mb = sum(path.stat().st_size for path in files) / 1e6
        log.info("slide downloaded", files=len(files), mb=f"{size_mb:.1f}", s=f"{time.monotonic() - began:.1f}")
        return files[0]

    def _files(self) -> list[Path]:
        share = 0.0

        def received(done: int, total: int | None) -> None:
            nonlocal share
            check_abandoned()
            share = done / total if total else 0.5

        def show() -> None:
            if not self._origin.is_at_hand:
                self._publisher.progress(DOWNLOAD + (ANALYSIS - DOWNLOAD) * share, DOWNLOADING)

        def fetch() -> list[Path]:
            return self._origin.files(
                lambda: self._workspace.slide_folder(self._job.id),
                received,
                room=self._workspace.room,
                keep_names=self._context.settings.store_phi,
            )

        show()
        return self._leaving.run(fetch, tick=show)
