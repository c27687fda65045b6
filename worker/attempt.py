"""One attempt at one job, from the claim to the final result."""

from __future__ import annotations

import time
from pathlib import Path

import structlog
from PIL import Image

from slidehook.app import App
from slidehook.errors import AppError, SlidehookError
from slidehook.iaapi.client import DpatClient
from slidehook.iaapi.models import ImageInfo
from slidehook.jobs.queue import Claim
from slidehook.publishing import frame_of
from slidehook.result import Result
from slidehook.settings import Settings
from slidehook.slide import find_slide_file, open_slide, render_thumbnail
from worker.analysis import AppProcess, Found, Task
from worker.fetching import fetch_files, fetch_label, fetch_thumbnail
from worker.leaving import Leaving
from worker.publisher import Publisher
from worker.workspace import Workspace

CHECK_CLAIM_EVERY_S = 1.0
"""How often a worker makes sure that its claim is its own and still wanted, in seconds."""
STARTED, METADATA, DOWNLOAD, ANALYSIS = 5, 10, 20, 50
"""The percentages at which the steps begin; from the last on, the app itself says how far it is."""

log = structlog.get_logger()


class JobCancelled(SlidehookError):
    """Somebody asked for the job to stop."""


class Attempt:
    """Analyses one claimed slide. `run` raises a SlidehookError when it can't."""

    def __init__(
        self,
        claim: Claim,
        *,
        app: App,
        client: DpatClient,
        publisher: Publisher,
        workspace: Workspace,
        settings: Settings,
        leaving: Leaving,
    ) -> None:
        self._claim = claim
        self._job = claim.job
        self._app = app
        self._client = client
        self._publisher = publisher
        self._workspace = workspace
        self._settings = settings
        self._leaving = leaving
        self._checked_at = time.monotonic()

    def run(self, process: AppProcess) -> Result:
        """Fetch the slide, have it analysed, and store the final result at DPAT."""
        if self._claim.cancel_wanted():
            raise JobCancelled("cancelled")
        self._publisher.progress(STARTED, "analysis started")
        info = self._metadata()
        thumbnail = self._thumbnail(info)
        if self._settings.store_phi:
            self._label()
        path = self._files()
        task = Task(self._app.id, path, info, thumbnail or self._thumbnail_from_file(path))
        found = self._analyse(process, task)
        self._workspace.keep(self._job.id, "result.txt", (found.result.text + "\n").encode())
        self._publisher.done(found.result, found.frame)
        return found.result

    def _metadata(self) -> ImageInfo:
        phi = self._settings.store_phi
        info = self._job.image_info
        if info is None:
            with self._leaving.interruptible():
                info = self._client.slide_info(self._job.slide_id, include_phi=phi)
        info = info if phi else info.without_phi()
        self._workspace.keep(self._job.id, "metadata.json", info.model_dump_json(by_alias=True, indent=1).encode())
        if (frame := frame_of(info)) is not None:
            self._publisher.extent(frame)
        log.info("metadata stored")
        return info

    def _thumbnail(self, info: ImageInfo) -> Path | None:
        self._publisher.progress(METADATA, "fetching the overview")
        with self._leaving.interruptible():
            picture = fetch_thumbnail(self._client, self._job.slide_id, info)
        if picture is None:
            return None
        log.info("thumbnail fetched", size=f"{picture.width}x{picture.height}")
        return self._keep_picture(picture)

    def _thumbnail_from_file(self, path: Path) -> Path:
        with open_slide(path) as slide:
            picture = render_thumbnail(slide)
        log.info("thumbnail made from the file", size=f"{picture.width}x{picture.height}")
        return self._keep_picture(picture)

    def _keep_picture(self, picture: Image.Image) -> Path:
        path = self._workspace.job_folder(self._job.id) / "thumbnail.png"
        picture.save(path)
        return path

    def _label(self) -> None:
        with self._leaving.interruptible():
            label = fetch_label(self._client, self._job.slide_id)
        if label is not None:
            self._workspace.keep(self._job.id, "label.jpg", label)
            log.info("label fetched")

    def _files(self) -> Path:
        self._publisher.progress(DOWNLOAD, "downloading the slide")
        began = time.monotonic()

        def received(done: int, total: int | None) -> None:
            self._tick()
            share = done / total if total else 0.5
            self._publisher.progress(DOWNLOAD + (ANALYSIS - DOWNLOAD) * share, "downloading the slide")

        with self._leaving.interruptible():
            paths = fetch_files(
                self._client, self._job.slide_id, lambda: self._workspace.slide_folder(self._job.id), received
            )
        size_mb = sum(path.stat().st_size for path in paths) / 1e6
        log.info("slide downloaded", files=len(paths), mb=f"{size_mb:.1f}", s=f"{time.monotonic() - began:.1f}")
        return find_slide_file(paths[0].parent)

    def _analyse(self, process: AppProcess, task: Task) -> Found:
        self._publisher.progress(ANALYSIS, "analysing")
        log.info("analysis begins", app=self._app.id)

        def progress(percent: float, text: str) -> None:
            log.info("progress", percent=round(percent), text=text)
            self._publisher.progress(percent, text)

        timeout_s = self._app.timeout_s or self._settings.job_timeout.total_seconds()
        try:
            return process.analyse(task, timeout_s=timeout_s, progress=progress, tick=self._tick)
        except AppError as error:
            if trace := getattr(error, "trace", ""):
                log.error("the app has a fault", trace=trace)
            raise

    def _tick(self) -> None:
        """Do what is due while something long goes on."""
        self._leaving.check()
        if time.monotonic() - self._checked_at >= CHECK_CLAIM_EVERY_S:
            self._checked_at = time.monotonic()
            self._claim.check()
            if self._claim.cancel_wanted():
                raise JobCancelled("cancelled")
        self._publisher.flush()
