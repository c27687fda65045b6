"""The part of a slide that a user wants analysed: the whole slide, one tagged polygon, or several polygons."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from slidehook.models.base import Polygon, Record, StrictRecord


class WholeSlideInput(StrictRecord):
    """The whole slide."""

    type: Literal["wholeSlide"] = "wholeSlide"


class PolygonContent(StrictRecord):
    """The user's polygon and its tag."""

    polygon: Polygon
    tags: list[str] | None = None
    tag_index: int | None = None


class TaggedPolygonInput(StrictRecord):
    """One polygon with a tag."""

    type: Literal["taggedPolygon"]
    content: PolygonContent


class PolygonsContent(StrictRecord):
    """The user's polygons."""

    polygons: list[Polygon]


class MultiAreaInput(StrictRecord):
    """Several polygons at once."""

    type: Literal["multiArea"]
    content: PolygonsContent


Input = Annotated[WholeSlideInput | TaggedPolygonInput | MultiAreaInput, Field(discriminator="type")]


class InputTemplate(Record):
    """The input that the viewer asks the user for before it calls the app."""

    type: Literal["wholeSlide", "taggedPolygon", "multiArea"]
    content: dict[str, Any] | None = None
