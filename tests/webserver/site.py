"""A webserver with a real queue, and requests as DPAT would send them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from slidehook.app import App, MultiArea, TaggedPolygon, WholeSlide
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import FileSource
from slidehook.jobs.job import Job, JobState
from slidehook.models import ImageInfo
from slidehook.result import Progress, Result
from slidehook.slide import Slide
from tests.e2e.running import files_below
from tests.iaapi.little_dpat import LittleDpat

SQUARE = [{"x": 0.1, "y": 0.1}, {"x": 0.2, "y": 0.1}, {"x": 0.2, "y": 0.2}, {"x": 0.1, "y": 0.2}]


class TissueArea(App):
    id = "tissue-area"
    name = "Tissue area"
    version = "2.1"
    manufacturer = "A laboratory"

    def accepts(self, image: ImageInfo) -> bool:
        if image.body_part == "BROKEN":
            raise LookupError("no such body part")
        return image.staining.display_name == "HE"

    def analyze(self, slide: Slide, progress: Progress) -> Result:
        raise NotImplementedError


class Tagged(TissueArea):
    id = "tagged"
    input: ClassVar[WholeSlide | TaggedPolygon | MultiArea] = TaggedPolygon(tags=["tumour", "stroma"])


class Areas(TissueArea):
    id = "areas"
    input: ClassVar[WholeSlide | TaggedPolygon | MultiArea] = MultiArea()


class Site:
    """The webserver of `flask`, its queue, and its DPAT."""

    def __init__(self, flask: Flask, queue_dir: Path, dpat: LittleDpat) -> None:
        self.flask = flask
        self.web: FlaskClient = flask.test_client()
        self.dpat = dpat
        self.queue = FileQueue(queue_dir, "work")

    def body(self, **changes: Any) -> dict[str, Any]:
        """A valid `create`; a field changed to Ellipsis is left out."""
        body = {
            "action": "create",
            "applicationId": "tissue-area",
            "slideId": "S-1",
            "callbackInfo": {"url": self.dpat.url, "token": "the-token"},
            "context": {"mode": "fast"},
            "cancellationToken": "the-cancellation",
            "input": {"type": "wholeSlide"},
        } | changes
        return {name: value for name, value in body.items() if value is not ...}

    def post(self, path: str = "/apps/tissue-area", body: Any = None, **changes: Any) -> TestResponse:
        sent = self.body(**changes) if body is None else body
        data = sent if isinstance(sent, bytes) else json.dumps(sent).encode()
        return self.web.post(path, data=data, content_type="application/json")

    def notify(self, **changes: Any) -> TestResponse:
        old = {"action": ..., "input": ..., "imageInfo": {"id": "S-1", **self.dpat.record}}
        return self.post("/apps/tissue-area/imagenotification", **{**old, **changes})

    def jobs(self) -> list[Job]:
        """Claim all claimable jobs, in order."""
        source = FileSource(self.queue, max_attempts=3)
        try:
            return [claim.job for claim in iter(source.claim, None)]
        finally:
            source.close()

    def files(self) -> list[Path]:
        """All files of jobs that have not ended."""
        return [path for path in files_below(self.queue.layout.root) if self._is_job(path)]

    def held(self) -> int:
        """The number of jobs that are held or claimed."""
        return len(list(self.queue.layout.names(JobState.ACTIVE)))

    def _is_job(self, path: Path) -> bool:
        return path.relative_to(self.queue.layout.root).parts[0] in {"waiting", "active", "parked", "aliases", "tmp"}
