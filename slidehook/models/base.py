"""The base of all records: field names, tolerance of unknown fields, and geometry on the slide."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, ValidatorFunctionWrapHandler, field_validator
from pydantic.alias_generators import to_camel

from slidehook.models.reading import WholeNumber, field_or_default


class StrictRecord(BaseModel):
    """A frozen IA-API record that must parse completely. Unknown fields are accepted and dropped."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, allow_inf_nan=False
    )

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object for the IA-API: camelCase, without unset fields."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def default_if_unreadable(
    cls: type[BaseModel], value: Any, read: ValidatorFunctionWrapHandler, info: ValidationInfo
) -> Any:
    """Parse one field of a received record; an unreadable optional field takes its default."""
    name = str(info.field_name)
    declared = cls.model_fields[name]
    if declared.is_required() or name in getattr(cls, "must_parse", ()):
        return read(value)
    return field_or_default(
        value, read, declared.alias or name, partial(declared.get_default, call_default_factory=True)
    )


class Record(StrictRecord):
    """An IA-API record whose optional fields may be missing; an unreadable optional field counts as missing.

    This tolerance applies only inside `read_leniently`. Code that constructs a record must pass valid values.
    """

    must_parse: ClassVar[frozenset[str]] = frozenset()
    """Optional fields that an app acts on: an unreadable one is an error."""

    _default_if_unreadable = field_validator("*", mode="wrap")(classmethod(default_if_unreadable))


class Size(StrictRecord):
    """Width and height in level-0 pixels, each less than 2³², as in DICOM."""

    width: WholeNumber = Field(lt=2**32)
    height: WholeNumber = Field(lt=2**32)


class Point(StrictRecord):
    """A point on the slide in result coordinates: both axes are divided by the image's width."""

    x: float
    y: float


class Polygon(StrictRecord):
    """A closed or open line through its points, in result coordinates."""

    points: list[Point]
