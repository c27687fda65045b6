"""What all records share: naming, tolerance of what newer servers add, and a point on the slide."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, ValidatorFunctionWrapHandler, field_validator
from pydantic.alias_generators import to_camel

from slidehook.models.reading import Whole, field_or_default


class Exact(BaseModel):
    """A frozen IA-API record all of whose fields count. Fields that it does not know are accepted and dropped."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, allow_inf_nan=False
    )

    def to_wire(self) -> dict[str, Any]:
        """Give the JSON object that the IA-API expects: camelCase, without fields that are not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def or_missing(cls: type[BaseModel], value: Any, read: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    """Read a field of a record that was sent to us; an optional one that can't be read counts as missing."""
    name = str(info.field_name)
    told = cls.model_fields[name]
    if told.is_required() or name in getattr(cls, "decisive", ()):
        return read(value)
    return field_or_default(value, read, told.alias or name, partial(told.get_default, call_default_factory=True))


class Record(Exact):
    """An IA-API record of which a field that is not required may be missing, and counts so where it can't be read.

    That holds for records that were sent to us (see `read_leniently`); whoever makes one here has to make it right.
    """

    decisive: ClassVar[frozenset[str]] = frozenset()
    """Fields that are not required, but say what is to be done: one that can't be read is an error."""

    _or_missing = field_validator("*", mode="wrap")(classmethod(or_missing))


class Size(Exact):
    """Width and height in level-0 pixels, each less than 2³², as in DICOM."""

    width: Whole = Field(lt=2**32)
    height: Whole = Field(lt=2**32)


class Point(Exact):
    """A place on the slide in result coordinates: both axes are divided by the image's width."""

    x: float
    y: float


class Polygon(Exact):
    """A closed or open line through its points, in result coordinates."""

    points: list[Point]
