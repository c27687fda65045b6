"""How an app presents itself to DPAT's administrator."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from slidehook.models.base import Record
from slidehook.models.reading import Number


class InputTemplate(Record):
    """What DPAT asks the user for before it calls the app."""

    type: Literal["wholeSlide", "taggedPolygon", "multiArea"]
    content: dict[str, Any] | None = None


class Registration(Record):
    """The answer to `GET R`."""

    application_id: str
    display_name: str
    manufacturer: str
    url: str
    input_template: InputTemplate
    context: dict[str, Any] = {}


class VersionInfo(Record):
    """The answer to `GET /info`, of either side."""

    api_version: str
    software_version: str = ""


class Token(Record):
    """The answer to `POST /token`: a bearer token, and for how many seconds it is good where DPAT says so."""

    access_token: str = Field(min_length=1, max_length=16384, pattern=r"^[!-~]+$", repr=False)
    token_type: str | None = None
    expires_in: Number | None = None
