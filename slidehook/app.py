"""The app author's side: what an app declares, and what it is asked to do."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from slidehook.iaapi.models import ImageInfo, InputTemplate
from slidehook.result import Progress, Result
from slidehook.settings import Settings
from slidehook.slide import Slide

_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_ROUTE = re.compile(r"(/[A-Za-z0-9_-]+)+")


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
        """Give the tags that the user chooses from."""
        return {"tags": list(self.tags)}


@dataclass(frozen=True)
class MultiArea:
    """The user draws any number of polygons."""

    type: ClassVar[str] = "multiArea"

    def content(self) -> dict[str, Any] | None:
        """Nothing more is asked of the user."""
        return None


class App(ABC):
    """One analysis. A subclass sets `id` and `name` and writes `analyze`.

    `id`: lower-case letters, digits and hyphens, unique on the server; DPAT stores results under it.
    `route`: where the webserver offers it, by default `/apps/<id>`.
    `timeout_s`: seconds that one analysis may take; None: the site's `JOB_TIMEOUT`.
    `priority`: 0 (first) to 9.
    """

    id: ClassVar[str]
    name: ClassVar[str]
    version: ClassVar[str] = "1.0"
    manufacturer: ClassVar[str] = "slidehook"
    route: ClassVar[str] = ""
    input: ClassVar[WholeSlide | TaggedPolygon | MultiArea] = WholeSlide()
    timeout_s: ClassVar[float | None] = None
    priority: ClassVar[int] = 5

    settings: Settings
    """The site's settings; set before `setup` is called."""

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
        if cls.timeout_s is not None and not cls.timeout_s > 0:
            raise TypeError(f"{cls.__name__}.timeout_s must be above 0 seconds, or None")

    @classmethod
    def input_template(cls) -> InputTemplate:
        """Give what the registration tells DPAT to ask the user for."""
        return InputTemplate.model_validate({"type": cls.input.type, "content": cls.input.content()})

    def accepts(self, image: ImageInfo) -> bool:
        """Say whether a newly imported image is to be analysed; asked for every image notification."""
        del image
        return True

    def setup(self) -> None:  # noqa: B027 - optional: most apps have nothing to load
        """Load what lasts, such as a model: called once in each process, before the first `analyze`."""

    @abstractmethod
    def analyze(self, slide: Slide, progress: Progress) -> Result:
        """Analyse one slide; raise AppError with one clear sentence when this slide can't be analysed."""
