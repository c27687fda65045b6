"""One job's result in a folder: the record that DPAT would get, GeoJSON for QuPath, and a picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from pydantic import ValidationError

from slidehook.app import App
from slidehook.dpat.iaapi.models import ResultData, ResultRecord
from slidehook.dpat.patch_region import with_region
from slidehook.dpat.records import draft_of
from slidehook.errors import CannotStore, SlideUnreadable
from slidehook.folder.local_slide import local_file
from slidehook.folder.overlay import NoPicture, overlay_png
from slidehook.geometry import Frame
from slidehook.models import ImageInfo, Point
from slidehook.pixels.bounds import qupath_origin
from slidehook.private import private_folder, replace_private
from slidehook.result import Result
from slidehook.results.budget import within_limits
from slidehook.results.geojson import geojson_of
from slidehook.results.sanitize import sanitize_result
from slidehook.systems import Access, Cancelled, Done, Ending, Failed, Noted, Work

RECORD, PICTURE, GEOJSON = "result.json", "overlay.png", "result.geojson"

Report = Callable[[float, str], None]
"""Shows the progress of a job: 0…100, and a short text."""
Warn = Callable[[str], None]
"""Shows one sentence about what is missing although the result is complete."""


def _ignore(*_: object) -> None:
    pass


@dataclass(frozen=True)
class LocalWork:
    """The parts of a job that a destination reads, for a job in no queue. See `slidehook.systems.Work`."""

    app_id: str
    slide_id: str
    id: str = ""
    context: dict[str, Any] | None = None
    created_at: float = 0.0
    image_info: ImageInfo | None = None


class FolderDestination:
    """One job's files in a folder. See `slidehook.systems.ResultDestination`; also raises CannotStore.

    A folder holds one result: a later job replaces it. The picture shows the result and the regions `drawn` by the
    user (result coordinates) on `slide`; without a slide there is no picture. `report` receives progress, `warn` a
    sentence on anything missing.
    """

    def __init__(
        self,
        folder: Path,
        work: Work,
        app: App,
        access: Access | None = None,
        *,
        slide: Path | None = None,
        drawn: Sequence[Sequence[Point]] = (),
        report: Report = _ignore,
        warn: Warn = _ignore,
    ) -> None:
        self.folder = folder
        """The folder."""
        self._work = work
        self._app = app
        self._access = access or Access()
        self._slide = slide
        self._drawn = drawn
        self._report = report
        self._warn = warn
        self._is_mine = True
        self._result: Result | None = None
        self.record: ResultRecord | None = None
        """The record that DPAT would have received, once the job is done."""
        self.files: list[Path] = []
        """The files that were written."""

    def check(self) -> None:
        """Raise CannotStore if the folder can't be created or written. Leaves no files: the job may still fail."""
        made = [each for each in (self.folder, *self.folder.parents) if not each.exists()]
        try:
            private_folder(self.folder)
            try:
                with TemporaryFile(dir=self.folder):
                    pass
            finally:
                for each in made:
                    each.rmdir()
        except OSError as error:
            raise CannotStore(f"{self.folder} can't be written: {error.strerror}") from error

    def resume(self, noted: Noted | None, since: float) -> None:
        """Do nothing: an earlier attempt's files are found in the folder."""

    def continued(self) -> FolderDestination:
        """Return the same destination for new calls."""
        return FolderDestination(
            self.folder, self._work, self._app, self._access,
            slide=self._slide, drawn=self._drawn, report=self._report, warn=self._warn,
        )  # fmt: skip

    def describe(self, info: ImageInfo) -> None:
        """Ignore the record: the slide's extent comes with the result."""

    def progress(self, percent: float, text: str) -> None:
        """Report the job's progress; nothing is written."""
        self._access.check()
        self._report(percent, text)

    def end(self, ending: Ending) -> None:
        """Write the result, or report a failure or cancellation without changing any file."""
        self._access.check()
        match ending:
            case Done():
                self._write(ending)
                self._is_mine = True
            case Failed(reason):
                self._is_mine = False
                self._report(100, f"failed: {reason}")
            case Cancelled():
                if self.shown() is None:
                    self._report(100, "cancelled")

    def follow_up(self, done: Done) -> None:
        """Draw the result on the slide. If that fails, only the picture is missing."""
        self._access.check()
        if self._slide is None or self._result is None:
            return
        path = self.folder / PICTURE
        try:
            drawn = [[done.frame.to_pixel(each) for each in corners] for corners in self._drawn]
            shown = _as_in_dpat(self._result, done.frame)
            content, amiss = overlay_png(local_file(self._slide), shown, done.frame, drawn)
            if amiss:
                self._warn(amiss)
            replace_private(path, content)
            self.files.insert(1, path)
        except (NoPicture, SlideUnreadable) as error:
            self._warn(f"The result is complete, but {path} could not be drawn: {error}.")
        except OSError as error:
            self._warn(f"The result is complete, but {path} can't be written: {error.strerror}.")

    def shown(self) -> str | None:
        """Return the text of the result in the folder; None without one, and after a failure."""
        if not self._is_mine:
            return None
        try:
            return ResultRecord.model_validate_json((self.folder / RECORD).read_bytes()).display_result
        except (OSError, ValidationError):
            return None

    def _write(self, done: Done) -> None:
        result = sanitize_result(done.result)
        geojson = geojson_of(result, self._app.name, origin=qupath_origin(done.bounds))
        self._result = within_limits(self._app, result, mpp=done.mpp)
        self.record = self._as_record(self._result, done.frame)
        record = json.dumps(self.record.to_wire(), indent=2, ensure_ascii=False).encode() + b"\n"
        try:
            private_folder(self.folder)
            (self.folder / PICTURE).unlink(missing_ok=True)  # an earlier job's picture shows another result
            replace_private(self.folder / RECORD, record)
            replace_private(self.folder / GEOJSON, geojson)
            self.files = [self.folder / RECORD, self.folder / GEOJSON]
        except OSError as error:
            raise CannotStore(f"{self.folder} can't be written: {error.strerror}") from error

    def _as_record(self, result: Result, frame: Frame) -> ResultRecord:
        """Return the record that DPAT would be sent."""
        draft = draft_of(result, frame)
        return ResultRecord(
            slide_id=self._work.slide_id,
            display_result=draft.text,
            display_properties=draft.rows,
            application_version=self._app.version,
            data=ResultData(result=draft.shown()),
        )


def _as_in_dpat(result: Result, frame: Frame) -> Result:
    """Return a result with the polygon that DPAT requires around a gallery's patches."""
    gallery = result.gallery
    return result if gallery is None else replace(result, shapes=with_region(gallery, result.shapes, frame))
