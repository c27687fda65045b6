"""What goes between a worker and the process that runs apps: a task, and what was found or went wrong."""

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
    """What a child is to analyse; a `path` is None where the app needs no such thing, or there is none.

    `thumbnail` is made by the child where it is missing: by the slide's origin, else of the file `overview_from`.
    `drawn` is what the user drew; `origin` and `secret` give access to the slide's origin, None when there is none.
    `dependency` is what the app in the app's `depends_on` has found, and `rests_on` that app's fingerprint.
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
    """What an app found, and the slide's extent in level-0 pixels that it counted in.

    `mpp`: µm per such pixel, None when that is not certain. `rests_on`: the fingerprint of the app that found it.
    `bounds`: what the file says was scanned.
    """

    result: Result
    frame: Frame
    mpp: float | None = None
    rests_on: str = ""
    bounds: Bounds | None = None


@dataclass(frozen=True)
class Fault:
    """What went wrong instead: the error's class, its sentence, and the traceback of an app's own fault."""

    error: type[SlidehookError]
    sentence: str
    trace: str = ""
    retry_after_s: float = 0.0
