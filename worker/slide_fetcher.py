"""Gets what apps have asked for of one slide."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from slidehook.app import App
from slidehook.dpat.fetching import fetch_files, fetch_label
from slidehook.dpat.iaapi.client import DpatClient
from slidehook.dpat.iaapi.download import SLIDE
from slidehook.dpat.pixels import why_no_tiles
from slidehook.jobs.job import Job
from slidehook.models import ImageInfo
from slidehook.running.fetched_slide import FetchedSlide, needs_files
from slidehook.settings import Settings
from slidehook.slide import find_slide_file
from worker.publisher import Publisher
from worker.shutdown import Interruption, check_abandoned
from worker.workspace import Workspace

DOWNLOAD, END = 20, 50
"""The percentages at which the steps begin, and at which all is there."""

log = structlog.get_logger()


class SlideFetcher:
    """Fetches from DPAT, into the job's folders, and says on the slide how far it is."""

    def __init__(
        self,
        job: Job,
        client: DpatClient,
        publisher: Publisher,
        workspace: Workspace,
        *,
        leaving: Interruption,
        settings: Settings,
    ) -> None:
        self._job = job
        self._store_phi = settings.store_phi
        self._client = client
        self._publisher = publisher
        self._workspace = workspace
        self._leaving = leaving

    def get(self, info: ImageInfo, apps: Sequence[App]) -> FetchedSlide:
        """Get what any of `apps` needs of a slide, the label only if it may be kept.

        Raises DiskFull before anything is fetched that would have to be stored where there is no room.
        """
        needs = {each for app in apps for each in app.needs}
        has_tiles = not why_no_tiles(info)
        wants_files = any(needs_files(app, has_tiles=has_tiles) for app in apps)
        if needs & {"thumbnail", "label", "files"} or wants_files:
            self._workspace.check_room(SLIDE)
        thumbnail = self._workspace.job_folder(self._job.id) / "thumbnail.png" if "thumbnail" in needs else None
        picture = self._label() if self._store_phi and "label" in needs else None
        path = None
        if wants_files:
            if "files" not in needs:
                log.info("downloaded, not read in tiles", reason=why_no_tiles(info))
            path = self._files()
        return FetchedSlide(info, path, thumbnail, picture, has_tiles)

    def _label(self) -> Path | None:
        label = self._leaving.run(lambda: fetch_label(self._client, self._job.slide_id))
        if label is None:
            return None
        log.info("label fetched")
        return self._workspace.keep(self._job.id, "label.jpg", label)

    def _files(self) -> Path:
        self._publisher.progress(DOWNLOAD, "downloading the slide")
        began = time.monotonic()

        def received(done: int, total: int | None) -> None:
            check_abandoned()
            share = done / total if total else 0.5
            self._publisher.progress(DOWNLOAD + (END - DOWNLOAD) * share, "downloading the slide")

        def download() -> list[Path]:
            return fetch_files(
                self._client,
                self._job.slide_id,
                lambda: self._workspace.slide_folder(self._job.id),
                received,
                room=self._workspace.room,
                keep_names=self._store_phi,
            )

        paths = self._leaving.run(download)
        size_mb = sum(path.stat().st_size for path in paths) / 1e6
        log.info("slide downloaded", files=len(paths), mb=f"{size_mb:.1f}", s=f"{time.monotonic() - began:.1f}")
        return find_slide_file(paths[0].parent)
