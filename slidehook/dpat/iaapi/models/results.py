"""Results: what an app shows on a slide, as sent and as DPAT stored it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PrivateAttr, field_validator

from slidehook.models.base import Exact, Point, Polygon, Record
from slidehook.models.reading import Each, Id, Plain, Rounded


class Style(Record):
    """How shapes are drawn; colours as `#RRGGBB`."""

    stroke_style: str | None = None
    fill_style: str | None = None
    size: Rounded | None = None


class Label(Exact):
    """A text at a place."""

    location: Point
    label: str


class Item(Record):
    """Shapes and labels in one style."""

    decisive: ClassVar[frozenset[str]] = frozenset({"polygons", "polylines", "labels"})

    style: Style | None = None
    polygons: list[Polygon] = []
    polylines: list[Polygon] = []
    labels: list[Label] = []

    @field_validator("polygons", "polylines", "labels", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return [] if value is None else value


class Primitive(Exact):
    """Shapes on the slide. `content` is always sent as a list: every kind of server takes that."""

    type: Literal["primitive"] = "primitive"
    content: list[Item]

    @field_validator("content", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        return [] if value is None else [value] if isinstance(value, dict) else value


class Patch(Record):
    """One patch of a gallery; `tag` is an index into the collection's tags."""

    tag: int
    position: Point
    sort_key_value: float | str | None = None


class Status(Record):
    """Whether something is allowed, and the text that says why."""

    value: bool | int | str | None = None
    message: str | None = None


class Statuses(Record, extra="allow"):
    """The states of a gallery; those that newer servers have go back as they came."""

    allow_verify: Status | None = None


class Action(Record, coerce_numbers_to_str=True):
    """A button below a gallery: `state` is 1 when the user has pressed it, and must be answered with 0."""

    decisive: ClassVar[frozenset[str]] = frozenset({"state"})

    id: str
    state: Literal[0, 1] = 0
    name: str | None = None
    tooltip: str | None = None

    @field_validator("state", mode="before")
    @classmethod
    def _released(cls, value: Any) -> Any:
        return 0 if value is None else value


class PatchContent(Record):
    """A gallery's patches and what the user can do with them; `patch_size` in pixels."""

    decisive: ClassVar[frozenset[str]] = frozenset({"polygons", "patches", "tags", "actions"})

    description: str | None = None
    polygons: list[Polygon] | None = None
    patches: list[Patch] = []
    tags: list[str] = []
    patch_size: Rounded | None = None
    magnification: Plain | None = None
    statuses: Statuses | None = None
    actions: list[Action] | None = None

    @field_validator("patches", "tags", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return [] if value is None else value


class PatchCollection(Exact):
    """A gallery whose patches the user can move between tags."""

    type: Literal["patchCollection"] = "patchCollection"
    content: PatchContent


class Attachment(Record):
    """A file that DPAT keeps beside the result."""

    name: str
    state: str | None = None


class ResultData(Record):
    """The shapes, and a context that is the app's own."""

    context: dict[str, Any] = {}
    result: Annotated[Primitive | PatchCollection, Field(discriminator="type")]

    @field_validator("context", mode="before")
    @classmethod
    def _no_context(cls, value: Any) -> Any:
        return {} if value is None else value


class ResultRecord(Record):
    """A result as an app sends it.

    `display_result` is the text in DPAT's annotation list, `display_properties` the table beside it.
    """

    slide_id: str
    display_result: str
    display_properties: dict[str, Each[str | int | float | None]] = {}
    application_version: str
    attachments: list[Each[Attachment]] | None = None
    data: ResultData

    @field_validator("display_properties", mode="before")
    @classmethod
    def _no_properties(cls, value: Any) -> Any:
        return {} if value is None else value


class StoredResult(ResultRecord):
    """A result as DPAT keeps it: with its number, and the version that an update must name."""

    id: Id
    version_id: Id

    def with_buttons_released(self) -> StoredResult:
        """Give the result with every button's state 0, as a pressed one must be answered."""
        found = self.data.result
        if not isinstance(found, PatchCollection) or not found.content.actions:
            return self
        actions = [each.model_copy(update={"state": 0}) for each in found.content.actions]
        content = found.content.model_copy(update={"actions": actions})
        result = found.model_copy(update={"content": content})
        return self.model_copy(update={"data": self.data.model_copy(update={"result": result})})


class Stored(Record):
    """What an update needs to know of a stored result, whatever else DPAT or an older app keeps in it."""

    id: Id
    version_id: Id
    _answer: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def answer(self) -> dict[str, Any]:
        """The result exactly as DPAT answered it, with the fields that only DPAT knows."""
        return self._answer or self.to_wire()

    def with_answer(self, answer: dict[str, Any]) -> Stored:
        """Give this result with what DPAT answered."""
        self._answer = answer
        return self
