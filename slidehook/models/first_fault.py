"""One sentence's worth of a validation error: the first field that is wrong, and why."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pydantic import ValidationError

_OF_A_UNION = frozenset({"union_tag_invalid", "union_tag_not_found"})


@dataclass(frozen=True)
class FirstFault:
    """`where`: the field's path with dots, empty for the whole; `reason`: a clause without its full stop."""

    where: str
    reason: str
    is_json: bool = True
    """False if the content is not JSON at all."""
    joined_by: str = ": "

    def of(self, whole: str = "") -> str:
        """Return a clause that names the field, or else `whole`: "the field 'points.0': a number is missing"."""
        if not self.is_json and whole:
            return f"{whole} is not valid JSON"
        subject = f"the field {self.where!r}" if self.where else whole
        return f"{subject}{self.joined_by}{self.reason}" if subject else self.reason

    def __str__(self) -> str:
        return f"{self.where}{self.joined_by}{self.reason}" if self.where else self.reason


def first_fault(error: ValidationError, *, tags: Collection[str] = ()) -> FirstFault:
    """Return the first fault of `error`; it holds nothing of the value that was refused, which may be secret.

    `tags`: the discriminators' values, which pydantic puts into a field's path though no field has their name.
    """
    fault = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"] if part not in tags)
    if fault["type"] in _OF_A_UNION:
        discriminator = fault["ctx"]["discriminator"].strip("'")
        expected = fault["ctx"].get("expected_tags")
        reason = f"must be one of {expected}" if expected else "is missing"
        return FirstFault(f"{where}.{discriminator}" if where else discriminator, reason, joined_by=" ")
    message = fault["msg"].rstrip(".")
    return FirstFault(where, message[:1].lower() + message[1:], is_json=fault["type"] != "json_invalid")
