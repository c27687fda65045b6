"""What all records share: naming, tolerance of what newer servers add, and a point on the slide."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Record(BaseModel):
    """A frozen IA-API record. Fields that it does not know are accepted and dropped."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, allow_inf_nan=False
    )

    def to_wire(self) -> dict[str, Any]:
        """Give the JSON object that the IA-API expects: camelCase, without fields that are not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Size(Record):
    """Width and height in level-0 pixels."""

    width: int
    height: int


class Point(Record):
    """A place on the slide in result coordinates: both axes are divided by the image's width."""

    x: float
    y: float


class Polygon(Record):
    """A closed or open line through its points, in result coordinates."""

    points: list[Point]
