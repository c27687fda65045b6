"""Finds the installed apps by their entry points."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint

from pydantic_core import PydanticSerializationError

from slidehook.app import UNPACKAGED, App
from slidehook.errors import AppChanged, SlidehookError
from slidehook.registry.changed_files import GROUP, Installed, Watch
from slidehook.registry.dependencies import DependencyMissing, apps_before
from slidehook.registry.fingerprint import fingerprint
from slidehook.registry.params import ParamsInvalid, params_path, site_params
from slidehook.registry.source_files import Code, compile_from_source
from slidehook.settings import Settings, settings_for_apps

__all__ = [
    "GROUP",
    "BrokenApp",
    "Registry",
    "UnreadyApp",
    "load_apps",
    "load_code",
    "note_code",
    "set_up",
    "taken_by",
]
APP_PATHS = ("", "/info", "/imagenotification")
"""Where an app answers, below its route."""
SITE_PATHS = frozenset({"/", "/healthz", "/openapi.json"})
"""Where the webserver itself answers."""


@dataclass(frozen=True)
class BrokenApp:
    """An app that is installed but can't be offered: its entry point, the reason in one line, and the traceback.

    `app_id` is empty if the app failed before its id was known.
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
    """The apps by id, the apps that did not load, and the apps that lack something. A faulty app affects no other.

    `watch`: the files from which they were loaded; `origins`: the entry point of each app, by its id.
    """

    def __init__(
        self,
        apps: Iterable[App],
        broken: Iterable[BrokenApp] = (),
        unready: Iterable[UnreadyApp] = (),
        *,
        watch: Watch | None = None,
        origins: Mapping[str, str] | None = None,
    ) -> None:
        self._apps = {app.id: app for app in apps}
        self.broken = tuple(broken)
        self.unready = tuple(unready)
        self.watch = watch
        self.origins = dict(origins or {})

    def __getitem__(self, app_id: str) -> App:
        return self._apps[app_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._apps)

    def __len__(self) -> int:
        return len(self._apps)

    def changed(self) -> str | None:
        """Return in a few words what has changed on disk since the apps were loaded; None if nothing has."""
        return None if self.watch is None else self.watch.changed()

    def before(self, app: App) -> list[App]:
        """Return the apps whose results `app` needs, directly or not, in the order in which they must run.

        `app` need not be registered. Raises DependencyMissing.
        """
        absent = {each.app_id for each in self.broken} | {each.app.id for each in self.unready}
        return apps_before(app, self._apps, absent)


def load_apps(settings: Settings, points: Iterable[EntryPoint] | None = None) -> Registry:
    """Load every installed app once, in order of its entry point's name."""
    installed = None
    if points is None:
        installed = Installed()
        points = installed.points
    watch = Watch(settings, installed)
    apps: dict[str, App] = {}
    origins: dict[str, str] = {}
    broken: list[BrokenApp] = []
    unready: list[UnreadyApp] = []
    for point in sorted(points, key=lambda each: each.name):
        app_id = ""
        try:
            app = _load(point, watch)
            app_id = app.id
            if twin := taken_by(app, apps.values()):
                raise TypeError(f"{twin} is taken already")
            try:
                set_up(app, settings)
                lacks = app.missing()
                if not lacks:
                    fingerprint(app)  # faults appear now, and large files are read before any job
            finally:
                watch.app(point.value, app)
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
    return Registry(apps.values(), broken, unready, watch=watch, origins=origins)


def set_up(app: App, settings: Settings) -> None:
    """Set an app's settings and its site's parameters; raises ParamsInvalid."""
    app.settings = settings_for_apps(settings)
    app.params = site_params(app.params, params_path(settings.data_dir, app.id))
    try:
        app.params.model_dump(mode="json")
    except PydanticSerializationError as error:
        # They are listed, and are part of what names kept findings.
        raise ParamsInvalid(f"the params of {app.id} can't be written as JSON: {error}") from error


def _sentence(error: BaseException) -> str:
    return str(error) if isinstance(error, SlidehookError) else f"{type(error).__name__}: {error}"


def _without_dependency(apps: dict[str, App], origins: dict[str, str], broken: set[str]) -> list[BrokenApp]:
    """Remove the apps that need the result of an app that can't run."""
    found = []
    for app in apps.values():
        try:
            apps_before(app, apps, broken)
        except DependencyMissing as error:
            found.append(BrokenApp(origins[app.id], str(error), traceback.format_exc(), app.id))
    for each in found:
        del apps[each.app_id]
    return found


def load_code(module: str, point: EntryPoint | None = None) -> Code:
    """Read the code of an app before it is imported, and have Python compile the same content."""
    dist = None if point is None else point.dist
    files = (dist.files if dist is not None else None) or ()
    own = {file.parts[0].removesuffix(".py") for file in files if file.suffix == ".py"}
    code = Code(module, own)
    compile_from_source(code.sources)
    return code


def note_code(app: App, code: Code, point: EntryPoint | None) -> None:
    """Record on an app the files from which it was loaded, and its distribution's version if it states none.

    Raises AppChanged if the code has changed since before the import.
    """
    if changed := code.changed():
        raise AppChanged(f"{changed[0]} changed while it was loaded")
    app.code_digest = code.digest
    if app.version == UNPACKAGED and point is not None and point.dist is not None:
        app.version = point.dist.version


def _load(point: EntryPoint, watch: Watch) -> App:
    code = load_code(point.module, point)
    watch.code(point.value, code)
    cls = point.load()
    if not (isinstance(cls, type) and issubclass(cls, App)):
        raise TypeError(f"{point.value} is not a subclass of slidehook.App")
    app = cls()
    note_code(app, code, point)
    return app


def taken_by(app: App, others: Iterable[App]) -> str | None:
    """Return the app's id or route if another app already has it; None otherwise."""
    paths = {app.route + path for path in APP_PATHS}
    if paths & SITE_PATHS:
        return f"the route {app.route}"
    for other in others:
        if app.id == other.id:
            return f"the id {app.id}"
        if taken := paths & {other.route + path for path in APP_PATHS}:
            return f"the route {app.route}" if app.route in taken else f"{min(taken)}, below the route {app.route},"
    return None
