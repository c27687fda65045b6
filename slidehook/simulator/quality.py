"""Each slide's quality control, as in IA-API 1.10."""

from __future__ import annotations

import secrets
import threading

from slidehook.simulator.errors import Conflict, Malformed

STATUSES = ("NotSet", "QualityOk", "Rejected")


class Quality:
    """Each slide's status, and the version that a change must name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, tuple[str, str]] = {}

    def get(self, slide_id: str) -> dict[str, str]:
        """Return a slide's `status`, initially `NotSet`, and `versionId`."""
        with self._lock:
            status, version_id = self._states.setdefault(slide_id, ("NotSet", secrets.token_hex(8)))
        return {"status": status, "versionId": version_id}

    def put(self, slide_id: str, status: object, version_id: object) -> dict[str, str]:
        """Change a slide's status; raises Malformed for an unknown status, Conflict for a stale version."""
        if not isinstance(status, str) or status not in STATUSES:
            raise Malformed(f"The quality control's status is {status!r}, not one of {', '.join(STATUSES)}.")
        current = self.get(slide_id)["versionId"]
        with self._lock:
            if version_id != current or self._states[slide_id][1] != current:
                raise Conflict(f"The quality control of {slide_id!r} has changed since {version_id!r}.")
            self._states[slide_id] = (status, secrets.token_hex(8))
        return self.get(slide_id)
