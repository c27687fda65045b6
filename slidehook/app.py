"""The base class of apps: what an app declares, and the methods that slidehook calls."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel

from slidehook.models import ImageInfo
from slidehook.models.inputs import InputTemplate
from slidehook.result import Progress, Result
from slidehook.results.limits import MIB, MOST_BODY_BYTES, most_body_bytes, most_record_bytes
from slidehook.settings import Settings
from slidehook.slide import Slide

_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_ROUTE = re.compile(r"(/[A-Za-z0-9_-]+)+")
NEEDS = frozenset({"files", "thumbnail", "label", "tiles"})
"""The inputs that an app can request."""
UNPACKAGED = "unpackaged"
"""The version of an app that declares none and belongs to no distribution."""


@dataclass(frozen=True)
class WholeSlide:
    """The app analyses the whole slide."""

    type: ClassVar[str] = "wholeSlide"

    def content(self) -> dict[str, Any] | None:
        """Return None: the user is asked for nothing else."""
        return None


@dataclass(frozen=True)
class TaggedPolygon:
    """The user draws one polygon and gives it one of `tags`."""

    tags: tuple[str, ...] | list[str]
    type: ClassVar[str] = "taggedPolygon"

    def content(self) -> dict[str, Any] | None:
        """Return the tags from which the user chooses."""
        return {"tags": list(self.tags)}


@dataclass(frozen=True)
class MultiArea:
    """The user draws any number of polygons."""

    type: ClassVar[str] = "multiArea"

    def content(self) -> dict[str, Any] | None:
        """Return None: the user is asked for nothing else."""
        return None


class NoParams(BaseModel):
    """The parameters of an app that has none."""


class App(ABC):
    """One analysis. A subclass sets `id` and `name` and writes `analyze`.

    `id`: lower-case letters, digits and hyphens, unique on the server; DPAT stores results under it.
    `version`: shown in every result; default: the version of the app's distribution.
    `route`: the path at which the webserver offers it; default: `/apps/<id>`.
    `timeout`: the time limit of one analysis in seconds; None: the site's `JOB_TIMEOUT`.
    `priority`: 0 (first) to 9.
    `needs`: what is fetched before `analyze` is called: `files` (the slide itself), `thumbnail` (an overview),
    `label` (shows identifying data, so only if the site has set `STORE_PHI`), or `tiles` (read from DPAT on demand
    instead of the files).
    `depends_on`: the id of another whole-slide app, which runs first; its result for the same slide is in
    `slide.dependency`.
    `memory_gb`: the memory limit of one analysis in GiB; None: no limit.
    `max_polygons`, `max_points`: the most shapes, and corners of shapes, sent to DPAT; of more, the largest are
    shown, and the table says so. `max_patches`: the most patches of a gallery; of more, the first are shown.
    """

    id: ClassVar[str]
    name: ClassVar[str]
    version: str = UNPACKAGED
    manufacturer: ClassVar[str] = "slidehook"
    route: ClassVar[str] = ""
    input: ClassVar[WholeSlide | TaggedPolygon | MultiArea] = WholeSlide()
    timeout: ClassVar[float | None] = None
    priority: ClassVar[int] = 5
    needs: ClassVar[Collection[str]] = frozenset({"files", "thumbnail"})
    depends_on: ClassVar[str | None] = None
    memory_gb: ClassVar[float | None] = None
    max_polygons: ClassVar[int] = 2000
    max_points: ClassVar[int] = 50_000
    max_patches: ClassVar[int] = 5000

    params: BaseModel = NoParams()
    """The parameters that a site can set: an instance of the app's own model, with defaults.

    Values in the site's `<DATA_DIR>/apps/<id>.toml` replace them.
    """

    settings: Settings
    """The site's settings; set before `setup` is called."""
    code_digest: str = ""
    """Identifies the code that the app was loaded from; set by slidehook."""

    def __init_subclass__(cls) -> None:
        """Refuse an invalid declaration when the class is defined: raises TypeError with the reason."""
        super().__init_subclass__()
        if getattr(cls.analyze, "__isabstractmethod__", False):
            return
        if not _ID.fullmatch(getattr(cls, "id", "")) or len(cls.id) > 64:
            raise TypeError(f"{cls.__name__}.id must be lower-case letters, digits and hyphens, 64 at most")
        if not getattr(cls, "name", ""):
            raise TypeError(f"{cls.__name__}.name must say what users see in DPAT's menu")
        if any(not isinstance(each, str) for each in (cls.name, cls.version, cls.manufacturer)):
            raise TypeError(f"{cls.__name__}.name, .version and .manufacturer must be texts")
        # Not inherited: two apps can't be offered at one address.
        cls.route = vars(cls).get("route") or f"/apps/{cls.id}"
        if not _ROUTE.fullmatch(cls.route):
            raise TypeError(f"{cls.__name__}.route must look like /apps/{cls.id}")
        if not 0 <= cls.priority <= 9:
            raise TypeError(f"{cls.__name__}.priority must be 0 (first) to 9")
        if not isinstance(cls.input, WholeSlide | TaggedPolygon | MultiArea):
            raise TypeError(f"{cls.__name__}.input must be WholeSlide(), TaggedPolygon(tags=[...]) or MultiArea()")
        if cls.timeout is not None and not cls.timeout > 0:
            raise TypeError(f"{cls.__name__}.timeout must be above 0 seconds, or None")
        if isinstance(cls.needs, str) or not NEEDS.issuperset(cls.needs):
            raise TypeError(f"{cls.__name__}.needs must be some of {', '.join(sorted(NEEDS))}")
        cls.needs = frozenset(cls.needs)
        _check_limits(cls)

    @classmethod
    def most_record_bytes(cls) -> int:
        """Return the largest size in bytes of this app's result as JSON sent to DPAT."""
        return most_record_bytes(
            max_polygons=cls.max_polygons, max_points=cls.max_points, max_patches=cls.max_patches
        )

    @classmethod
    def input_template(cls) -> InputTemplate:
        """Return the input that DPAT is to ask the user for, as in the registration."""
        return InputTemplate.model_validate({"type": cls.input.type, "content": cls.input.content()})

    def accepts(self, image: ImageInfo) -> bool:
        """Return whether a newly imported image is to be analysed; called for every image notification."""
        del image
        return True

    def missing(self) -> str | None:
        """Return in one sentence what the site must add before the app can be used, such as a model; None: nothing.

        Called once, when the app is loaded with its settings and params; must be quick. An app that lacks something
        is listed with this sentence and not offered to users. Raise AppError if something is present but wrong: that
        is logged as a fault.
        """
        return None

    def files(self) -> Collection[Path]:
        """Return the files that results depend on, such as a model: a change of one is a change of the app.

        Called before each slide, so it must be quick. When a file changes, the next slide is analysed in a new
        process, in which `setup` loads the new file; a result's fingerprint covers the files' contents.
        """
        return ()

    def setup(self) -> None:  # noqa: B027 - optional: most apps have nothing to load
        """Load what all analyses share, such as a model: called once per process, before the first `analyze`."""

    @abstractmethod
    def analyze(self, slide: Slide, progress: Progress) -> Result:
        """Analyse one slide; raise AppError with one clear sentence if this slide can't be analysed."""

    def on_modify(self, result: Result) -> Result:
        """Return the result that replaces one that a user changed.

        `result` is the one that `analyze` (or this method) returned, with the user's changes: patches moved to other
        tags, shapes changed, the ids of pressed buttons in `result.pressed`. Modify and return it, or return a new
        one; the buttons are released afterwards. The user waits, so this must be quick (at most 10 s). It runs in the
        webserver, which has no slide to read and has not called `setup`. An exception is shown as "update failed",
        and the user's change is kept. It is never called for results in progress, failed or cancelled.
        """
        return result


def _check_limits(cls: type[App]) -> None:
    """Refuse invalid `depends_on`, `memory_gb` and limits of shapes; raises TypeError."""
    if cls.depends_on is not None and not (isinstance(cls.depends_on, str) and _ID.fullmatch(cls.depends_on)):
        raise TypeError(f"{cls.__name__}.depends_on must be another app's id, or None")
    if cls.depends_on == cls.id:
        raise TypeError(f"{cls.__name__}.depends_on must be another app's id, not its own")
    if cls.memory_gb is not None and not 0 < cls.memory_gb < inf:
        raise TypeError(f"{cls.__name__}.memory_gb must be above 0, or None")
    for name, least in (("max_polygons", 1), ("max_points", 3), ("max_patches", 0)):
        limit = getattr(cls, name)
        if not isinstance(limit, int) or limit < least:
            raise TypeError(f"{cls.__name__}.{name} must be a whole number, {least} at least")
    if (body := most_body_bytes(cls.most_record_bytes())) > MOST_BODY_BYTES:
        raise TypeError(
            f"{cls.__name__}.max_polygons, .max_points and .max_patches allow results that may come back from DPAT "
            f"with {body // MIB} MiB; {MOST_BODY_BYTES // MIB} MiB is the most that is read"
        )
    if not isinstance(cls.params, BaseModel):
        raise TypeError(f"{cls.__name__}.params must be an instance of a pydantic model, with its defaults")
