"""DPAT's requests to an app: invocations, distinguished by action and input type, and image notifications."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, TypeAdapter, ValidationError, field_validator

from slidehook.dpat.iaapi.models.results import StoredResult
from slidehook.errors import BadRequest
from slidehook.models.base import Record, StrictRecord, default_if_unreadable
from slidehook.models.first_fault import first_fault
from slidehook.models.images import ImageInfo
from slidehook.models.inputs import Input, WholeSlideInput
from slidehook.models.reading import Id, read_leniently

SlideId = Annotated[str, Field(min_length=1, max_length=512)]


class Callback(StrictRecord):
    """The URL for calls back to DPAT, and the bearer token for them."""

    url: str = Field(min_length=1, max_length=2048)
    token: str = Field(max_length=16384, pattern=r"^[!-~]+$", repr=False)
    """Printable ASCII, as an HTTP header requires."""


class _Call(StrictRecord):
    application_id: str
    slide_id: SlideId
    callback_info: Callback
    context: dict[str, Any] | None = None
    cancellation_token: str | None = Field(default=None, repr=False)

    # Every other field decides what the app does, so it must parse.
    _default_if_unreadable = field_validator("context", mode="wrap")(classmethod(default_if_unreadable))


class Create(_Call):
    """Analyse the slide."""

    action: Literal["create"]
    input: Input


class Modify(_Call):
    """The user changed a stored result; `input` is the changed result."""

    action: Literal["modify"]
    input: StoredResult
    _sent: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def sent(self) -> dict[str, Any]:
        """The result exactly as received, with the fields that only DPAT uses."""
        return self._sent or self.input.to_wire()


class DeletedData(Record):
    """The context of a deleted result."""

    context: dict[str, Any] | None = None


class DeletedRecord(Record):
    """The needed fields of a deleted result; the others may come from another version of the app."""

    id: Id
    data: DeletedData | None = None


class Delete(_Call):
    """The user deleted a stored result."""

    action: Literal["delete"]
    input: DeletedRecord


class Cancel(_Call):
    """Stop the invocation with this `cancellation_token`."""

    action: Literal["cancel"]


class Notification(_Call):
    """A new image was imported. Older servers send neither action nor input."""

    action: Literal["newImageFiles"] | None = None
    input: WholeSlideInput | None = None
    image_info: ImageInfo | None = None

    _image_or_missing = field_validator("image_info", mode="wrap")(classmethod(default_if_unreadable))


Invocation = Annotated[Create | Modify | Delete | Cancel, Field(discriminator="action")]
_INVOCATION: TypeAdapter[Create | Modify | Delete | Cancel] = TypeAdapter(Invocation)
_TAGS = {"create", "modify", "delete", "cancel", "wholeSlide", "taggedPolygon", "multiArea"} | {
    "primitive",
    "patchCollection",
}


def parse_invocation(body: bytes) -> Create | Modify | Delete | Cancel:
    """Parse the body of `POST R`; raises BadRequest with one sentence that names the first fault."""
    try:
        call = read_leniently(_INVOCATION.validate_json, body, "invocation")
    except ValidationError as error:
        raise _refused(error) from error
    if isinstance(call, Modify):
        call._sent = json.loads(body, parse_constant=lambda _: None)["input"]  # noqa: SLF001 - ours
    return call


def parse_notification(body: bytes) -> Notification:
    """Parse the body of `POST R/imagenotification`; raises BadRequest as `parse_invocation` does."""
    try:
        return read_leniently(Notification.model_validate_json, body, "image notification")
    except ValidationError as error:
        raise _refused(error) from error


def _refused(error: ValidationError) -> BadRequest:
    clause = first_fault(error, tags=_TAGS).of("the body")
    return BadRequest(f"{clause[:1].upper()}{clause[1:]}.")
