"""Replaced versions of results, for merging the changes of two users who started from the same version."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import structlog

from slidehook.jobs.job import digest
from slidehook.private import private_folder, replace_private

MAX_TOTAL_BYTES = 256 * 1024 * 1024
"""The most that is stored on this host; the oldest versions are removed first."""
MAX_AGE_S = 24 * 3600.0
"""How long a version is stored, in seconds; no user is likely to keep a result open longer."""
log = structlog.get_logger()


class ResultVersions:
    """Replaced versions in a folder shared by the webserver's processes on this host. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, server: str, app_id: str, answer: dict[str, Any]) -> None:
        """Save a stored result, as DPAT returned it, before its replacement. A full disk only prevents merging."""
        path = self._path(server, app_id, answer.get("id"), answer.get("versionId"))
        try:
            private_folder(self._folder)
            replace_private(path, json.dumps(answer).encode())
            self._evict()
        except OSError as error:
            log.warning("a result's version could not be saved for merging", reason=error.strerror or str(error))

    def find(self, server: str, app_id: str, result_id: int | str, version_id: int | str) -> dict[str, Any] | None:
        """Return a version of a result, or None if it is not stored on this host."""
        with contextlib.suppress(OSError, ValueError):
            version = json.loads(self._path(server, app_id, result_id, version_id).read_bytes())
            return version if isinstance(version, dict) else None
        return None

    def _path(self, server: str, app_id: str, result_id: object, version_id: object) -> Path:
        return self._folder / f"{digest(server, app_id, str(result_id), str(version_id))}.json"

    def _evict(self) -> None:
        kept = []
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process removes files as well
                stat = path.stat()
                kept.append((stat.st_mtime, stat.st_size, path))
        left, old = MAX_TOTAL_BYTES, time.time() - MAX_AGE_S
        for at, size, path in sorted(kept, reverse=True):
            left -= size
            if left < 0 or at < old:
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
