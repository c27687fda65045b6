"""Finds the installed apps by their entry points."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from slidehook.app import App
from slidehook.settings import Settings

GROUP = "slidehook.apps"
"""The entry-point group that third parties register their apps in."""


@dataclass(frozen=True)
class BrokenApp:
    """An app that is installed but can't be offered: its entry point, why in one line, and the traceback."""

    entry_point: str
    reason: str
    trace: str


class Registry(Mapping[str, App]):
    """The apps by id, and those that did not load; one that fails takes no other down."""

    def __init__(self, apps: Iterable[App], broken: Iterable[BrokenApp] = ()) -> None:
        self._apps = {app.id: app for app in apps}
        self.broken = tuple(broken)

    def __getitem__(self, app_id: str) -> App:
        return self._apps[app_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._apps)

    def __len__(self) -> int:
        return len(self._apps)


def load_apps(settings: Settings, points: Iterable[EntryPoint] | None = None) -> Registry:
    """Load every installed app once, in order of its entry point's name."""
    found = entry_points(group=GROUP) if points is None else points
    apps: dict[str, App] = {}
    broken: list[BrokenApp] = []
    for point in sorted(found, key=lambda each: each.name):
        try:
            app = _load(point, settings)
            if twin := _twin(app, apps.values()):
                raise TypeError(f"{twin} is taken already")
        except (Exception, SystemExit) as error:
            # An author's module may raise anything at import, and some leave the program.
            broken.append(BrokenApp(point.value, f"{type(error).__name__}: {error}", traceback.format_exc()))
        else:
            apps[app.id] = app
    return Registry(apps.values(), broken)


def _load(point: EntryPoint, settings: Settings) -> App:
    cls = point.load()
    if not (isinstance(cls, type) and issubclass(cls, App)):
        raise TypeError(f"{point.value} is not a subclass of slidehook.App")
    app = cls()
    app.settings = settings
    return app


def _twin(app: App, others: Iterable[App]) -> str | None:
    for other in others:
        if app.id == other.id:
            return f"the id {app.id}"
        if app.route == other.route:
            return f"the route {app.route}"
    return None
