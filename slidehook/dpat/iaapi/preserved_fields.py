"""What of a stored result stays when another one is put in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def beside(stored: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Give a new result of ours with the attachments, and the fields of others, of the one that it replaces."""
    found = {**stored, **ours}
    if isinstance(stored.get("data"), dict) and isinstance(ours.get("data"), dict):
        found["data"] = {**stored["data"], **ours["data"]}
    if stored.get("attachments"):
        found["attachments"] = stored["attachments"]
    return found
