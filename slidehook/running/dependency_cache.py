"""Keeps the results of apps that other apps depend on, for the next job that needs them."""

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


def dependency_key(address: str, info: ImageInfo, apps: Sequence[App]) -> str:
    """Return the key for the result of the last of `apps` on a slide, based on the results of those before.

    The key depends on version, parameters, code and files of each app, and on the slide's size. `address`: where the
    slide is in its system.
    """
    slide = info.model_dump(mode="json", include={"id", "image_size", "microns_per_pixel"})
    apps_read = [[app.id, app.version, fingerprint(app)] for app in apps]
    return hashlib.sha256(json.dumps([address, slide, apps_read], sort_keys=True).encode()).hexdigest()


class DependencyCache:
    """Results in one folder of this host, each in a file named by its key. Safe for several workers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, key: str, *, since: float = 0.0) -> Analysis | None:
        """Return the result for a key; None when there is none from `since` (Unix time) or later."""
        path = self._path(key)
        with contextlib.suppress(OSError, ValidationError):
            if path.stat().st_mtime >= since:
                return _FOUND.validate_json(path.read_bytes())
        return None

    def keep(self, key: str, found: Analysis) -> None:
        """Keep a result; a full disk is only logged, because it costs the next job no more than time."""
        path = self._path(key)
        try:
            with storing("what another app needs"):
                private_folder(self._folder)
                replace_private(path, _FOUND.dump_json(found, warnings=False))
        except CannotStore as error:
            log.warning("not kept for other apps", reason=str(error))

    def drop_old(self, before: float) -> None:
        """Remove results from before a Unix time."""
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                # Another worker may be removing it as well.
                with contextlib.suppress(OSError):
                    if path.lstat().st_mtime < before:
                        path.unlink()

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"
