"""The results stored by apps, with all their versions."""

from __future__ import annotations

import copy
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from slidehook.simulator.errors import Conflict, Malformed, NotFound


@dataclass(frozen=True)
class Version:
    """One stored version: `at` in seconds since 1970, `method` is POST, PATCH or PUT."""

    at: float
    version_id: str
    display_result: str
    display_properties: dict[str, Any]
    method: str

    def to_json(self) -> dict[str, Any]:
        """Return the version's JSON for /sim."""
        return {
            "at": self.at,
            "versionId": self.version_id,
            "displayResult": self.display_result,
            "displayProperties": self.display_properties,
            "method": self.method,
        }


@dataclass
class _Entry:
    application_id: str
    body: dict[str, Any]
    history: list[Version] = field(default_factory=list)
    attachments: dict[str, bytes] = field(default_factory=dict)


class Results:
    """Stores results by number. A deleted result is not recoverable, and its number is never reused."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._entries: dict[int, _Entry] = {}
        self._next_id = 1

    def create(self, application_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """Store a checked result; returns it with its `id` and `versionId`."""
        with self._lock:
            number = self._next_id
            self._next_id += 1
            entry = self._entries[number] = _Entry(application_id, {})
            return self._store(entry, number, body, "POST")

    def get(self, application_id: str, number: int) -> dict[str, Any]:
        """Return a stored result; raises NotFound."""
        with self._lock:
            return copy.deepcopy(self._entry(application_id, number).body)

    def update(self, application_id: str, number: int, body: dict[str, Any], method: str) -> dict[str, Any]:
        """Replace a stored result by a checked one.

        Raises NotFound; Malformed without a `versionId` or with a different `id` or slide; Conflict when the
        `versionId` is not the latest.
        """
        with self._lock:
            entry = self._entry(application_id, number)
            if body.get("versionId") is None:
                raise Malformed("The update lacks the field 'versionId'.")
            if body.get("id", number) != number:
                raise Malformed(f"The update of result {number} has the id {body['id']!r}.")
            if body["slideId"] != entry.body["slideId"]:
                raise Malformed(f"Result {number} belongs to another slide than {body['slideId']!r}.")
            if body["versionId"] != entry.body["versionId"]:
                raise Conflict(f"Result {number} has changed since the version {body['versionId']!r}.")
            return self._store(entry, number, body, method)

    def delete(self, number: int) -> None:
        """Delete a result; raises NotFound."""
        with self._lock:
            if self._entries.pop(number, None) is None:
                raise NotFound(f"There is no result {number}.")

    def of_slide(self, application_id: str, slide_id: str) -> list[dict[str, Any]]:
        """Return an app's results for a slide, oldest first."""
        with self._lock:
            return [
                copy.deepcopy(entry.body)
                for entry in self._entries.values()
                if entry.application_id == application_id and entry.body["slideId"] == slide_id
            ]

    def slide_of(self, number: int) -> list[str]:
        """Return a list with the id of the result's slide; empty if there is no such result."""
        with self._lock:
            entry = self._entries.get(number)
            return [] if entry is None else [entry.body["slideId"]]

    def all(self, application_id: str | None, slide_id: str | None) -> list[dict[str, Any]]:
        """Return results with `applicationId` and `history`, oldest first; None matches any."""
        with self._lock:
            return [
                {
                    **copy.deepcopy(entry.body),
                    "applicationId": entry.application_id,
                    "history": [version.to_json() for version in entry.history],
                }
                for entry in self._entries.values()
                if application_id in (None, entry.application_id) and slide_id in (None, entry.body["slideId"])
            ]

    def had_version(self, application_id: str, slide_id: str, number: object, version_id: object) -> bool:
        """Whether an app's result for a slide ever had this version."""
        with self._lock:
            entry = self._entries.get(number) if isinstance(number, int) else None
            return (
                entry is not None
                and entry.application_id == application_id
                and entry.body["slideId"] == slide_id
                and any(version.version_id == version_id for version in entry.history)
            )

    def attach(self, number: int, name: str, content: bytes) -> None:
        """Attach a file to a result without changing its version, as DPAT does. Raises NotFound."""
        with self._lock:
            entry = self._entries.get(number)
            if entry is None:
                raise NotFound(f"There is no result {number}.")
            entry.attachments[name] = content
            others = [other for other in entry.body.get("attachments") or [] if other["name"] != name]
            entry.body["attachments"] = [*others, {"name": name, "state": "stored"}]

    def attachment(self, application_id: str, number: int, name: str) -> bytes:
        """Return an attached file; raises NotFound."""
        with self._lock:
            content = self._entry(application_id, number).attachments.get(name)
        if content is None:
            raise NotFound(f"Result {number} has no attachment {name!r}.")
        return content

    def _entry(self, application_id: str, number: int) -> _Entry:
        entry = self._entries.get(number)
        if entry is None or entry.application_id != application_id:
            raise NotFound(f"The app {application_id!r} has no result {number}.")
        return entry

    def _store(self, entry: _Entry, number: int, body: dict[str, Any], method: str) -> dict[str, Any]:
        # Opaque on purpose: a client that computes version numbers itself must fail.
        version_id = secrets.token_hex(8)
        entry.body = {**copy.deepcopy(body), "id": number, "versionId": version_id}
        shown = body.get("displayResult") or "", copy.deepcopy(body.get("displayProperties") or {})
        entry.history.append(Version(time.time(), version_id, *shown, method))
        return copy.deepcopy(entry.body)


def merge_patch(present: Any, change: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396): fields absent from the change stay, null removes a field."""
    if not isinstance(change, dict):
        return copy.deepcopy(change)
    target = dict(present) if isinstance(present, dict) else {}
    for name, value in change.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = merge_patch(target.get(name), value)
    return target
