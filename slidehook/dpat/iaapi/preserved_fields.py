"""The fields of a stored result that survive its replacement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merge_preserved(stored: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Return our new result with the attachments and the foreign fields of the result that it replaces."""
    merged = {**stored, **ours}
    if isinstance(stored.get("data"), dict) and isinstance(ours.get("data"), dict):
        merged["data"] = {**stored["data"], **ours["data"]}
    if stored.get("attachments"):
        merged["attachments"] = stored["attachments"]
    return merged
