"""The versions of results that users have changed since: two users may have started from the same one."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import structlog

from slidehook.jobs.job import digest
from slidehook.private import private_folder

MOST_BYTES = 256 * 1024 * 1024
"""How much is kept on this host; the oldest goes first."""
MOST_AGE_S = 24 * 3600.0
"""How long a version is kept that nobody may still look at, in seconds."""
log = structlog.get_logger()


class Versions:
    """Replaced versions in a folder that the webserver's processes on this host share. Safe for several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, server: str, app_id: str, answer: dict[str, Any]) -> None:
        """Keep a stored result, as DPAT answered it, before it is replaced; a full disk only costs the merge."""
        path = self._path(server, app_id, answer.get("id"), answer.get("versionId"))
        aside = path.with_name(f"{path.name}.{os.getpid()}.{time.monotonic_ns()}.part")
        try:
            private_folder(self._folder)
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(json.dumps(answer))
            aside.rename(path)
            self._make_room()
        except OSError as error:
            log.warning("a result's version is not kept for a merge", reason=error.strerror or str(error))
            with contextlib.suppress(OSError):
                aside.unlink()

    def find(self, server: str, app_id: str, result_id: int | str, version_id: int | str) -> dict[str, Any] | None:
        """Give a version of a result; None when it is not here."""
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self._path(server, app_id, result_id, version_id).read_bytes())
            return found if isinstance(found, dict) else None
        return None

    def _path(self, server: str, app_id: str, result_id: object, version_id: object) -> Path:
        return self._folder / f"{digest(server, app_id, str(result_id), str(version_id))}.json"

    def _make_room(self) -> None:
        kept = []
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another process makes room as well
                stat = path.stat()
                kept.append((stat.st_mtime, stat.st_size, path))
        left, old = MOST_BYTES, time.time() - MOST_AGE_S
        for at, size, path in sorted(kept, reverse=True):
            left -= size
            if left < 0 or at < old:
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
