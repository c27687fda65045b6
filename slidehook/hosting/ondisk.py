"""Tells whether what the loaded apps are made of has changed on disk since: code, files, parameters, packages."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from slidehook.app import App
from slidehook.hosting.fingerprint import content_of
from slidehook.hosting.params import params_path
from slidehook.hosting.sources import Code, signature
from slidehook.settings import Settings

GROUP = "slidehook.apps"
"""The entry-point group that third parties register their apps in."""


class Installed:
    """The apps' entry points as they are installed, with their distributions' versions."""

    def __init__(self) -> None:
        importlib.invalidate_caches()
        self._seen = self._folders()
        self.points = list(entry_points(group=GROUP))
        self._said = _said(self.points)

    def changed(self) -> bool:
        """Say whether a package of apps was installed, removed or replaced by another version."""
        now = self._folders()
        if now == self._seen:
            return False
        self._seen = now
        importlib.invalidate_caches()
        found = _said(entry_points(group=GROUP))
        if found != self._said:
            self._seen = {}  # asked again, it says so again
            return True
        return False

    def _folders(self) -> dict[str, object]:
        return {each: signature(Path(each)) for each in sys.path}


def _said(points: Iterable[EntryPoint]) -> list[tuple[str, ...]]:
    return sorted((each.name, each.value, *_distribution(each)) for each in points)


def _distribution(point: EntryPoint) -> tuple[str, ...]:
    return () if point.dist is None else (point.dist.name, point.dist.version)


class Watch:
    """What the apps of one registry were loaded from. `changed` costs a stat for each file when nothing has."""

    def __init__(self, settings: Settings, installed: Installed | None) -> None:
        self._data_dir = settings.data_dir
        self._installed = installed
        self._codes: dict[str, Code] = {}
        self._apps: dict[str, tuple[App, dict[Path, str]]] = {}

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
        """Say in a few words what has changed since the apps were loaded; None: nothing."""
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

    def _files(self, app: App, before: dict[Path, str]) -> dict[Path, str]:
        try:
            named = [Path(each) for each in app.files()]
        except (Exception, SystemExit):
            # An author's code may raise anything; where the files count, it is told.
            named = [*before]
        return {path: content_of(path) for path in (*named, params_path(self._data_dir, app.id))}
