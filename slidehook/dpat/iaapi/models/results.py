"""Results: an app's findings on a slide, as sent and as stored by DPAT."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PrivateAttr, field_validator

from slidehook.models.base import Point, Polygon, Record, StrictRecord
from slidehook.models.reading import CompactNumber, Id, LenientItem, Rounded


class Style(Record):
    """The drawing style of shapes; colours as `#RRGGBB`."""

    stroke_style: str | None = None
    fill_style: str | None = None
    size: Rounded | None = None


class Label(StrictRecord):
    """A text at a point."""

    location: Point
    label: str


class Item(Record):
    """Shapes and labels of one style."""

    must_parse: ClassVar[frozenset[str]] = frozenset({"polygons", "polylines", "labels"})

    style: Style | None = None
    polygons: list[Polygon] = []
    polylines: list[Polygon] = []
    labels: list[Label] = []

    @field_validator("polygons", "polylines", "labels", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return [] if value is None else value


class Primitive(StrictRecord):
    """Shapes on the slide. `content` is always sent as a list, which every server accepts."""

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
    """Whether an action is allowed, and the reason."""

    value: bool | int | str | None = None
    message: str | None = None


class Statuses(Record, extra="allow"):
    """The states of a gallery; unknown ones, from newer servers, are returned unchanged."""

    allow_verify: Status | None = None


class Action(Record, coerce_numbers_to_str=True):
    """A button below a gallery: `state` is 1 when the user has pressed it; the answer must reset it to 0."""

    must_parse: ClassVar[frozenset[str]] = frozenset({"state"})

    id: str
    state: Literal[0, 1] = 0
    name: str | None = None
    tooltip: str | None = None

    @field_validator("state", mode="before")
    @classmethod
    def _released(cls, value: Any) -> Any:
        return 0 if value is None else value


class PatchContent(Record):
    """A gallery's patches and the actions on them; `patch_size` in pixels."""

    must_parse: ClassVar[frozenset[str]] = frozenset({"polygons", "patches", "tags", "actions"})

    description: str | None = None
    polygons: list[Polygon] | None = None
    patches: list[Patch] = []
    tags: list[str] = []
    patch_size: Rounded | None = None
    magnification: CompactNumber | None = None
    statuses: Statuses | None = None
    actions: list[Action] | None = None

    @field_validator("patches", "tags", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return [] if value is None else value


class PatchCollection(StrictRecord):
    """A gallery; the user can move its patches between tags."""

    type: Literal["patchCollection"] = "patchCollection"
    content: PatchContent


class Attachment(Record):
    """A file attached to the result in DPAT."""

    name: str
    state: str | None = None


class ResultData(Record):
    """The shapes or the gallery, and the app's private context."""

    context: dict[str, Any] = {}
    result: Annotated[Primitive | PatchCollection, Field(discriminator="type")]

    @field_validator("context", mode="before")
    @classmethod
    def _no_context(cls, value: Any) -> Any:
        return {} if value is None else value


class ResultRecord(Record):
    """A result as an app sends it.

    `display_result` is the text in DPAT's annotation list; `display_properties` is the table beside it.
    """

    slide_id: str
    display_result: str
    display_properties: dict[str, LenientItem[str | int | float | None]] = {}
    application_version: str
    attachments: list[LenientItem[Attachment]] | None = None
    data: ResultData

    @field_validator("display_properties", mode="before")
    @classmethod
    def _no_properties(cls, value: Any) -> Any:
        return {} if value is None else value


class StoredResult(ResultRecord):
    """A result as DPAT stores it: with its id, and the version that an update must name."""

    id: Id
    version_id: Id

    def with_buttons_released(self) -> StoredResult:
        """Return the result with every button's state reset to 0."""
        shown = self.data.result
        if not isinstance(shown, PatchCollection) or not shown.content.actions:
            return self
        actions = [each.model_copy(update={"state": 0}) for each in shown.content.actions]
        content = shown.content.model_copy(update={"actions": actions})
        result = shown.model_copy(update={"content": content})
        return self.model_copy(update={"data": self.data.model_copy(update={"result": result})})


class Stored(Record):
    """The fields of a stored result that an update needs; all others are ignored."""

    id: Id
    version_id: Id
    _answer: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def answer(self) -> dict[str, Any]:
        """The result exactly as DPAT returned it, with the fields that only DPAT uses."""
        return self._answer or self.to_wire()

    def with_answer(self, answer: dict[str, Any]) -> Stored:
        """Attach DPAT's JSON and return this object."""
        self._answer = answer
        return self
