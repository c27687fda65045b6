"""The app author's side: what an app declares, and what it is asked to do."""

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
"""What an app can ask for."""
UNPACKAGED = "unpackaged"
"""The version of an app that says none and belongs to no distribution."""


@dataclass(frozen=True)
class WholeSlide:
    """The app takes the slide as it is."""

    type: ClassVar[str] = "wholeSlide"

    def content(self) -> dict[str, Any] | None:
        """Nothing more is asked of the user."""
        return None


@dataclass(frozen=True)
class TaggedPolygon:
    """The user draws one polygon and gives it one of `tags`."""

    tags: tuple[str, ...] | list[str]
    type: ClassVar[str] = "taggedPolygon"

    def content(self) -> dict[str, Any] | None:
        """Return the tags that the user chooses from."""
        return {"tags": list(self.tags)}


@dataclass(frozen=True)
class MultiArea:
    """The user draws any number of polygons."""

    type: ClassVar[str] = "multiArea"

    def content(self) -> dict[str, Any] | None:
        """Nothing more is asked of the user."""
        return None


class NoParams(BaseModel):
    """An app without anything to tune."""


class App(ABC):
    """One analysis. A subclass sets `id` and `name` and writes `analyze`.

    `id`: lower-case letters, digits and hyphens, unique on the server; DPAT stores results under it.
    `version`: stands in every result; by default that of the app's distribution.
    `route`: where the webserver offers it, by default `/apps/<id>`.
    `timeout`: seconds that one analysis may take; None: the site's `JOB_TIMEOUT`.
    `priority`: 0 (first) to 9.
    `needs`: what is fetched before `analyze` is called: `files` (the slide itself), `thumbnail` (an overview),
    `label` (shows identifying data, so only where the site has set `STORE_PHI`), or `tiles` (read from DPAT as they
    are asked for, instead of the files).
    `depends_on`: the id of another app, one for whole slides, which is run first and whose result for the same slide
    is in `slide.dependency`.
    `memory_gb`: how much memory one analysis may take, in GiB; None: no limit.
    `max_polygons`, `max_points`: how many shapes, and corners of shapes, DPAT is sent at most; of more, the largest
    are shown, and the table says so. `max_patches`: how many patches of a gallery; of more, the first are shown.
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
    """What a site can tune: an instance of a model of the app's own, with its defaults.

    What the site writes in `<DATA_DIR>/apps/<id>.toml` replaces it.
    """

    settings: Settings
    """The site's settings; set before `setup` is called."""
    code_digest: str = ""
    """Names the code that the app was loaded from; set by slidehook."""

    def __init_subclass__(cls) -> None:
        """Refuse a declaration that can't work where it is written: raises TypeError with the reason."""
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
        """Return how many bytes of JSON a result of this app may take when it is sent to DPAT."""
        return most_record_bytes(
            max_polygons=cls.max_polygons, max_points=cls.max_points, max_patches=cls.max_patches
        )

    @classmethod
    def input_template(cls) -> InputTemplate:
        """Return what the registration tells DPAT to ask the user for."""
        return InputTemplate.model_validate({"type": cls.input.type, "content": cls.input.content()})

    def accepts(self, image: ImageInfo) -> bool:
        """Return whether a newly imported image is to be analysed; asked for every image notification."""
        del image
        return True

    def missing(self) -> str | None:
        """Return what the site has yet to add before the app can be used, such as a model; None: nothing.

        Asked once, when the app is loaded with its settings and params; must be quick. An app that lacks something is
        listed with this sentence and not offered to users. Raise AppError about what is there but wrong: that is a
        fault, and logged.
        """
        return None

    def files(self) -> Collection[Path]:
        """Return the files that the findings rest on, such as a model: a change of one is a change of the app.

        Asked before each slide, so it must be quick. When one of them changes, the next slide is analysed in a new
        process, in which `setup` loads what is there then; a result's fingerprint names their contents.
        """
        return ()

    def setup(self) -> None:  # noqa: B027 - optional: most apps have nothing to load
        """Load what lasts, such as a model: called once in each process, before the first `analyze`."""

    @abstractmethod
    def analyze(self, slide: Slide, progress: Progress) -> Result:
        """Analyse one slide; raise AppError with one clear sentence when this slide can't be analysed."""

    def on_modify(self, result: Result) -> Result:
        """Answer a user's change to a result with what is to stand on the slide from now on.

        `result` is the one that `analyze` (or this) gave, as the user left it: patches moved to other tags, shapes
        changed, the ids of pressed buttons in `result.pressed`. Change it and give it back, or give a new one; the
        buttons are released for you. The user waits, so this must be quick, 10 s at most: it runs in the webserver,
        where there is no slide to read and `setup` was not called. What it raises is shown as "update failed" with
        the user's own change kept. Results in progress, failed or cancelled never come here.
        """
        return result


def _check_limits(cls: type[App]) -> None:
    """Refuse what an app says of other apps, memory and shapes when it can't work; raises TypeError."""
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
