"""Finds the installed apps by their entry points."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

from pydantic_core import PydanticSerializationError

from slidehook.app import App
from slidehook.errors import SlidehookError
from slidehook.hosting.dependencies import DependencyMissing, apps_before
from slidehook.hosting.params import ParamsInvalid, params_path, site_params
from slidehook.settings import Settings

GROUP = "slidehook.apps"
"""The entry-point group that third parties register their apps in."""
APP_PATHS = ("", "/info", "/imagenotification")
"""Where an app answers, below its route."""
SITE_PATHS = frozenset({"/", "/healthz", "/openapi.json"})
"""Where the webserver itself answers."""


@dataclass(frozen=True)
class BrokenApp:
    """An app that is installed but can't be offered: its entry point, why in one line, and the traceback.

    `app_id` is empty when it did not come as far as having one.
    """

    entry_point: str
    reason: str
    trace: str
    app_id: str = ""


@dataclass(frozen=True)
class UnreadyApp:
    """An app that is not offered until the site has added what it `lacks`, a sentence; see `App.missing`."""

    app: App
    lacks: str


class Registry(Mapping[str, App]):
    """The apps by id, those that did not load, and those that lack something; none of them takes another down."""

    def __init__(
        self, apps: Iterable[App], broken: Iterable[BrokenApp] = (), unready: Iterable[UnreadyApp] = ()
    ) -> None:
        self._apps = {app.id: app for app in apps}
        self.broken = tuple(broken)
        self.unready = tuple(unready)

    def __getitem__(self, app_id: str) -> App:
        return self._apps[app_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._apps)

    def __len__(self) -> int:
        return len(self._apps)

    def before(self, app: App) -> list[App]:
        """Give the apps whose results `app` rests on, in the order in which they have to be run, without itself.

        `app` need not be one of these. Raises DependencyMissing.
        """
        absent = {each.app_id for each in self.broken} | {each.app.id for each in self.unready}
        return apps_before(app, self._apps, absent)


def load_apps(settings: Settings, points: Iterable[EntryPoint] | None = None) -> Registry:
    """Load every installed app once, in order of its entry point's name."""
    found = entry_points(group=GROUP) if points is None else points
    apps: dict[str, App] = {}
    origins: dict[str, str] = {}
    broken: list[BrokenApp] = []
    unready: list[UnreadyApp] = []
    for point in sorted(found, key=lambda each: each.name):
        app_id = ""
        try:
            app = _load(point)
            app_id = app.id
            if twin := _twin(app, apps.values()):
                raise TypeError(f"{twin} is taken already")
            set_up(app, settings)
            lacks = app.missing()
        except (Exception, SystemExit) as error:
            # An author's module may raise anything at import, and some leave the program.
            broken.append(BrokenApp(point.value, _sentence(error), traceback.format_exc(), app_id))
        else:
            if lacks:
                unready.append(UnreadyApp(app, lacks))
            else:
                apps[app.id], origins[app.id] = app, point.value
    absent = {each.app_id for each in broken} | {each.app.id for each in unready}
    broken += _without_dependency(apps, origins, absent)
    return Registry(apps.values(), broken, unready)


def set_up(app: App, settings: Settings) -> None:
    """Give an app its site's settings, and the parameters that the site has tuned; raises ParamsInvalid."""
    app.settings = settings
    app.params = site_params(app.params, params_path(settings.data_dir, app.id))
    try:
        app.params.model_dump(mode="json")
    except PydanticSerializationError as error:
        # They are listed, and are part of what names kept findings.
        raise ParamsInvalid(f"the params of {app.id} can't be written as JSON: {error}") from error


def _sentence(error: BaseException) -> str:
    return str(error) if isinstance(error, SlidehookError) else f"{type(error).__name__}: {error}"


def _without_dependency(apps: dict[str, App], origins: dict[str, str], broken: set[str]) -> list[BrokenApp]:
    """Take out the apps that rest on one that can't be run."""
    found = []
    for app in apps.values():
        try:
            apps_before(app, apps, broken)
        except DependencyMissing as error:
            found.append(BrokenApp(origins[app.id], str(error), traceback.format_exc(), app.id))
    for each in found:
        del apps[each.app_id]
    return found


def _load(point: EntryPoint) -> App:
    cls = point.load()
    if not (isinstance(cls, type) and issubclass(cls, App)):
        raise TypeError(f"{point.value} is not a subclass of slidehook.App")
    return cls()


def _twin(app: App, others: Iterable[App]) -> str | None:
    paths = {app.route + path for path in APP_PATHS}
    if paths & SITE_PATHS:
        return f"the route {app.route}"
    for other in others:
        if app.id == other.id:
            return f"the id {app.id}"
        if taken := paths & {other.route + path for path in APP_PATHS}:
            return f"the route {app.route}" if app.route in taken else f"{min(taken)}, below the route {app.route},"
    return None
