from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from slidehook.models.first_fault import FirstFault, first_fault


class _Cat(BaseModel):
    kind: Literal["cat"]
    lives: list[int]


class _Dog(BaseModel):
    kind: Literal["dog"]


_PET: TypeAdapter[_Cat | _Dog] = TypeAdapter(Annotated[_Cat | _Dog, Field(discriminator="kind")])


def _fault(content: str) -> FirstFault:
    with pytest.raises(ValidationError) as caught:
        _PET.validate_json(content)
    return first_fault(caught.value, tags={"cat", "dog"})


@pytest.mark.parametrize(
    ("content", "clause"),
    [
        ("{", "the body is not valid JSON"),
        ("{}", "the field 'kind' is missing"),
        ('{"kind": "cow"}', "the field 'kind' must be one of 'cat', 'dog'"),
        ('{"kind": "cat"}', "the field 'lives': field required"),
        ('{"kind": "cat", "lives": [1, "x"]}', "the field 'lives.1': input should be a valid integer"),
    ],
)
def test_a_fault_names_its_field_and_the_reason(content: str, clause: str) -> None:
    assert _fault(content).of("the body").startswith(clause)


def test_a_fault_of_the_whole_names_the_whole() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(int).validate_python([])
    assert first_fault(caught.value).of("the body") == "the body: input should be a valid integer"
    assert str(first_fault(caught.value)) == "input should be a valid integer"


def test_a_fault_holds_nothing_of_the_refused_value() -> None:
    assert "hush" not in repr(_fault('{"kind": "cat", "lives": "hush"}'))
