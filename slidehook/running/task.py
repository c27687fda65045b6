"""The messages between a worker and the process that runs apps: a task, and its analysis or fault."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from slidehook.errors import SlidehookError
from slidehook.geometry import Frame
from slidehook.models import ImageInfo, Input, WholeSlideInput
from slidehook.pixels.bounds import Bounds
from slidehook.result import Result
from slidehook.systems import OriginTicket


@dataclass(frozen=True)
class Task:
    """One app and one slide to analyse; a path is None if the app does not need that file, or there is none.

    If the file `thumbnail` does not exist, the child creates it: from the slide's origin, else from `overview_from`.
    `drawn` is what the user drew; `origin` and `secret` give access to the slide's origin, if there is one.
    `dependency` is the result of the app named in `depends_on`, and `rests_on` that app's fingerprint.
    """

    app_id: str
    path: Path | None
    info: ImageInfo
    thumbnail: Path | None
    label: Path | None = None
    drawn: Input = field(default_factory=WholeSlideInput)
    origin: OriginTicket | None = None
    secret: str = field(default="", repr=False)
    dependency: Result | None = None
    rests_on: str = ""
    overview_from: Path | None = None


@dataclass(frozen=True)
class Analysis:
    """An app's result, and the slide's extent in level-0 pixels, which the result's coordinates use.

    `mpp`: µm per such pixel, None when it is not certain. `rests_on`: the app's fingerprint. `bounds`: the scanned
    part of the slide, as the file states it.
    """

    result: Result
    frame: Frame
    mpp: float | None = None
    rests_on: str = ""
    bounds: Bounds | None = None


@dataclass(frozen=True)
class Fault:
    """A failed analysis: the error's class, its sentence, and the traceback of an app's own fault."""

    error: type[SlidehookError]
    sentence: str
    trace: str = ""
    retry_after_s: float = 0.0
