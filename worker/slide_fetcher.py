"""Gets what apps have asked for of one slide."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import structlog

from slidehook.app import App
from slidehook.jobs.job import Job
from slidehook.models import ImageInfo
from slidehook.running.fetched_slide import FetchedSlide, needs_files
from slidehook.settings import Settings
from slidehook.systems import SlideOrigin
from worker.publisher import Publisher
from worker.shutdown import Interruption, check_abandoned
from worker.workspace import Workspace

DOWNLOAD, END = 20, 50
"""The percentages at which the steps begin, and at which all is there."""

log = structlog.get_logger()


class SlideFetcher:
    """Fetches into the job's folders, and shows how far it is."""

    def __init__(
        self,
        job: Job,
        origin: SlideOrigin,
        publisher: Publisher,
        workspace: Workspace,
        *,
        leaving: Interruption,
        settings: Settings,
    ) -> None:
        self._job = job
        self._store_phi = settings.store_phi
        self._origin = origin
        self._publisher = publisher
        self._workspace = workspace
        self._leaving = leaving

    def get(self, info: ImageInfo, apps: Sequence[App]) -> FetchedSlide:
        """Get what any of `apps` needs of a slide, the label only if it may be kept.

        Raises DiskFull before anything is fetched that would have to be stored where there is no room.
        """
        needs = {each for app in apps for each in app.needs}
        why_no_tiles = self._origin.no_tiles(info)
        has_tiles = not why_no_tiles
        wants_files = any(needs_files(app, has_tiles=has_tiles) for app in apps)
        if needs & {"thumbnail", "label", "files"} or wants_files:
            self._workspace.check_room("the slide")
        thumbnail = self._workspace.job_folder(self._job.id) / "thumbnail.png" if "thumbnail" in needs else None
        picture = self._label() if self._store_phi and "label" in needs else None
        path = None
        if wants_files:
            if "files" not in needs and not self._origin.is_at_hand:
                log.info("downloaded, not read in tiles", reason=why_no_tiles)
            path = self._files()[0] if self._origin.is_at_hand else self._downloaded()
        return FetchedSlide(info, path, thumbnail, picture, has_tiles)

    def _label(self) -> Path | None:
        label = self._leaving.run(self._origin.label)
        if label is None:
            return None
        log.info("label fetched")
        return self._workspace.keep(self._job.id, "label.jpg", label)

    def _downloaded(self) -> Path:
        self._publisher.progress(DOWNLOAD, "downloading the slide")
        began = time.monotonic()
        paths = self._files()
        size_mb = sum(path.stat().st_size for path in paths) / 1e6
        log.info("slide downloaded", files=len(paths), mb=f"{size_mb:.1f}", s=f"{time.monotonic() - began:.1f}")
        return paths[0]

    def _files(self) -> list[Path]:
        share = 0.0

        def received(done: int, total: int | None) -> None:
            nonlocal share
            check_abandoned()
            share = done / total if total else 0.5

        def show() -> None:
            self._publisher.progress(DOWNLOAD + (END - DOWNLOAD) * share, "downloading the slide")

        def download() -> list[Path]:
            return self._origin.files(
                lambda: self._workspace.slide_folder(self._job.id),
                received,
                room=self._workspace.room,
                keep_names=self._store_phi,
            )

        return self._leaving.run(download, tick=show)
