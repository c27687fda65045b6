"""Detects changes of the loaded apps on disk: of their code, files, parameters and packages."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from slidehook.app import App
from slidehook.registry.fingerprint import content_of
from slidehook.registry.params import params_path
from slidehook.registry.source_files import Code, Signature, signature
from slidehook.settings import Settings

GROUP = "slidehook.apps"
"""The entry-point group that third parties register their apps in."""


class Installed:
    """The installed entry points of apps, with their distributions' versions."""

    def __init__(self) -> None:
        importlib.invalidate_caches()
        self._seen = self._folders()
        self.points = list(entry_points(group=GROUP))
        self._said = _said(self.points)

    def changed(self) -> bool:
        """Whether a package of apps was installed, removed or replaced by another version."""
        now = self._folders()
        if now == self._seen:
            return False
        self._seen = now
        importlib.invalidate_caches()
        found = _said(entry_points(group=GROUP))
        if found != self._said:
            self._seen = {}  # so that the next call reports the change again
            return True
        return False

    def _folders(self) -> dict[str, object]:
        return {each: signature(Path(each)) for each in sys.path}


def _said(points: Iterable[EntryPoint]) -> list[tuple[str, ...]]:
    return sorted((each.name, each.value, *_distribution(each)) for each in points)


def _distribution(point: EntryPoint) -> tuple[str, ...]:
    return () if point.dist is None else (point.dist.name, point.dist.version)


class Watch:
    """The files from which a registry's apps were loaded. `changed` usually costs one stat for each file."""

    def __init__(self, settings: Settings, installed: Installed | None) -> None:
        self._data_dir = settings.data_dir
        self._installed = installed
        self._codes: dict[str, Code] = {}
        self._apps: dict[str, tuple[App, dict[Path, str]]] = {}
        self._fixed: set[str] = set()
        self._seen: dict[str, Signature | None] | None = None

    def code(self, entry_point: str, code: Code) -> None:
        """Watch the code behind an entry point."""
        self._codes[entry_point] = code

    def app(self, entry_point: str, app: App) -> None:
        """Watch the files and the parameters of a loaded app."""
        self._apps[entry_point] = (app, self._files(app, {}))

    @property
    def modules(self) -> set[str]:
        """The names of all modules that are watched."""
        return {name for code in self._codes.values() for name in code.sources}

    def changed(self) -> str | None:
        """Return in a few words what has changed since the apps were loaded; None if nothing has."""
        seen = {path: signature(path) for path in self._paths()}
        if seen == self._seen:
            return None
        what = self._changed()
        self._fixed = {path for code in self._codes.values() for path in code.paths}
        # A file may have been written while it was looked at: it is looked at once more.
        self._seen = seen if what is None and seen.keys() == self._paths() else None
        return what

    def _paths(self) -> set[str]:
        """Return everything that is checked before each job and request."""
        named = {str(path) for app, before in self._apps.values() for path in self._named(app, before)}
        return self._fixed | named | (set() if self._installed is None else set(sys.path))

    def _changed(self) -> str | None:
        found = []
        if self._installed is not None and self._installed.changed():
            found.append("the installed apps")
        for point, code in self._codes.items():
            found += [f"{self._name(point)}: {path}" for path in code.changed()]
        for point, (app, before) in self._apps.items():
            now = self._files(app, before)
            differ = [path for path in {**before, **now} if before.get(path) != now.get(path)]
            found += [f"{self._name(point)}: {path}" for path in differ]
        return ", ".join(dict.fromkeys(found)) or None

    def _name(self, point: str) -> str:
        return self._apps[point][0].id if point in self._apps else point

    def _files(self, app: App, before: Iterable[Path]) -> dict[Path, str]:
        return {path: content_of(path) for path in self._named(app, before)}

    def _named(self, app: App, before: Iterable[Path]) -> list[Path]:
        """Name what an app's files are now, `before` where it can't, each file in a folder, and its parameters."""
        try:
            named = [Path(each) for each in app.files()]
            named += [inside for path in named if path.is_dir() for inside in path.rglob("*")]
        except (Exception, SystemExit):
            # An author's code may raise anything; where the files count, it is told.
            named = [*before]
        return [*named, params_path(self._data_dir, app.id)]
