"""What a user asks an app to analyse: the whole slide, one tagged polygon, or several polygons."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from slidehook.models.base import Exact, Polygon


class WholeSlideInput(Exact):
    """The whole slide is to be analysed."""

    type: Literal["wholeSlide"] = "wholeSlide"


class PolygonContent(Exact):
    """The polygon that the user drew, and the tag that it bears."""

    polygon: Polygon
    tags: list[str] | None = None
    tag_index: int | None = None


class TaggedPolygonInput(Exact):
    """One polygon with a tag."""

    type: Literal["taggedPolygon"]
    content: PolygonContent


class PolygonsContent(Exact):
    """The polygons that the user drew."""

    polygons: list[Polygon]


class MultiAreaInput(Exact):
    """Several polygons at once."""

    type: Literal["multiArea"]
    content: PolygonsContent


Input = Annotated[WholeSlideInput | TaggedPolygonInput | MultiAreaInput, Field(discriminator="type")]
