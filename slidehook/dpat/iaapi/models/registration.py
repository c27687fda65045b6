"""An app's registration, as DPAT's administrator sees it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from slidehook.models.base import Record
from slidehook.models.inputs import InputTemplate
from slidehook.models.reading import Number


class Registration(Record):
    """The answer to `GET R`."""

    application_id: str
    display_name: str
    manufacturer: str
    url: str
    input_template: InputTemplate
    context: dict[str, Any] = {}


class VersionInfo(Record):
    """The answer to `GET /info`, from DPAT or from an app."""

    api_version: str
    software_version: str = ""


class Token(Record):
    """The answer to `POST /token`: a bearer token, and its lifetime in seconds where DPAT states it."""

    access_token: str = Field(min_length=1, max_length=16384, pattern=r"^[!-~]+$", repr=False)
    token_type: str | None = None
    expires_in: Number | None = None
