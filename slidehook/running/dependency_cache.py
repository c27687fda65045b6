"""What apps have found that other apps rest on, kept for the next job that needs it."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from slidehook.app import App
from slidehook.disk import storing
from slidehook.errors import CannotStore
from slidehook.models import ImageInfo
from slidehook.private import private_folder, replace_private
from slidehook.registry.fingerprint import fingerprint
from slidehook.running.task import Analysis

_FOUND = TypeAdapter(Analysis)

log = structlog.get_logger()


def dependency_key(callback_url: str, info: ImageInfo, apps: Sequence[App]) -> str:
    """Name what the last of `apps` finds on a slide of a DPAT, given that it rests on those before.

    Another version, other parameters, changed code or changed files of any of them make another name, and so does a
    slide of another size.
    """
    slide = info.model_dump(mode="json", include={"id", "image_size", "microns_per_pixel"})
    said = [[app.id, app.version, fingerprint(app)] for app in apps]
    return hashlib.sha256(json.dumps([callback_url, slide, said], sort_keys=True).encode()).hexdigest()


class DependencyCache:
    """The findings in one folder of this host, each in a file under its key. Safe for several workers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, key: str, *, since: float = 0.0) -> Analysis | None:
        """Give what is kept under a key; None when there is nothing, or nothing from after `since` (Unix time)."""
        path = self._path(key)
        with contextlib.suppress(OSError, ValidationError):
            if path.stat().st_mtime >= since:
                return _FOUND.validate_json(path.read_bytes())
        return None

    def keep(self, key: str, found: Analysis) -> None:
        """Keep what was found; a disk that takes no file costs the next job some time, and nothing else."""
        path = self._path(key)
        try:
            with storing("what another app needs"):
                private_folder(self._folder)
                replace_private(path, _FOUND.dump_json(found, warnings=False))
        except CannotStore as error:
            log.warning("not kept for other apps", reason=str(error))

    def drop_old(self, before: float) -> None:
        """Remove what was kept before a Unix time."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                # Another worker may be removing it as well.
                with contextlib.suppress(OSError):
                    if path.lstat().st_mtime < before:
                        path.unlink()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"
