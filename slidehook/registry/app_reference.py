"""Finds an app by an author's reference: its id, as `module:Class`, or as `file.py:Class` before it is packaged."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

from slidehook.app import App
from slidehook.errors import AppError, SlidehookError
from slidehook.registry.no_bytecode import write_no_bytecode_in
from slidehook.registry.registry import GROUP, Registry, load_code, note_code, set_up
from slidehook.registry.source_files import Code, SourceLoader
from slidehook.settings import Settings


class AppNotFound(SlidehookError):
    """No app matches the reference."""


class AppFault(AppError):
    """An author's code raised an error, which is the cause of this one."""


def find_app(reference: str, registry: Registry, settings: Settings) -> App:
    """Return the app that `reference` names; `App.missing` is not checked and `setup` not called.

    Raises AppNotFound, AppFault if the author's module raises an error, and ParamsInvalid.
    """
    module_name, colon, class_name = reference.rpartition(":")
    if not colon:
        unready = {each.app.id: each.app for each in registry.unready}
        return registry.get(reference) or unready.get(reference) or _not_found(reference, registry)
    try:
        module, code = _from_file(Path(module_name)) if module_name.endswith(".py") else _module(module_name)
        cls = getattr(module, class_name, None)
        if not (isinstance(cls, type) and issubclass(cls, App)):
            raise AppNotFound(f"{module_name} has no app {class_name}{_instead(module)}")
        app = cls()
        note_code(app, code, _entry_point(module_name))
    except SlidehookError:
        raise
    except (Exception, SystemExit) as error:
        # An author's module may raise anything, and some leave the program.
        raise AppFault(f"{reference} does not load: {type(error).__name__}: {error}") from error
    set_up(app, settings)
    return app


def check_complete(app: App) -> None:
    """Raise AppNotFound, with the reason, if the app lacks something that the site must add. Raises AppFault, too."""
    try:
        lacks = app.missing()
    except SlidehookError:
        raise
    except (Exception, SystemExit) as error:
        # An author's code may raise anything.
        raise AppFault(f"the app {app.id} does not load: {type(error).__name__}: {error}") from error
    if lacks:
        raise AppNotFound(f"the app {app.id} can't be run yet: {lacks}")


def _not_found(app_id: str, registry: Registry) -> App:
    for each in registry.broken:
        if each.app_id == app_id:
            raise AppNotFound(f"the app {app_id} does not load: {each.reason}")
    if app_id.endswith(".py"):
        raise AppNotFound(f"say which class of {app_id} is the app: {app_id}:MyApp")
    raise AppNotFound(f"there is no app {app_id!r}; installed are {', '.join(sorted(registry)) or 'none'}")


def _module(name: str) -> tuple[ModuleType, Code]:
    # As `python -m` does: what lies in the author's folder can be imported.
    _import_from(Path.cwd())
    code = load_code(name, _entry_point(name))
    return importlib.import_module(name), code


def _entry_point(module: str) -> EntryPoint | None:
    """Return an entry point of an app in the same top-level module; it names the distribution."""
    top = module.partition(".")[0]
    return next((each for each in entry_points(group=GROUP) if each.module.partition(".")[0] == top), None)


def _from_file(path: Path) -> tuple[ModuleType, Code]:
    if not path.is_file():
        raise AppNotFound(f"there is no file {path}")
    path = path.resolve()
    name = path.parent.name if path.name == "__init__.py" else path.stem
    _import_from(path.parent.parent if path.name == "__init__.py" else path.parent)
    code = load_code(name)
    spec = importlib.util.spec_from_file_location(name, path, loader=SourceLoader(name, str(path)))
    if spec is None or spec.loader is None:
        raise AppNotFound(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module, code


def _import_from(folder: Path) -> None:
    write_no_bytecode_in(folder.resolve())
    sys.path.insert(0, str(folder))


def _instead(module: ModuleType) -> str:
    """Return the names of the apps that a module defines."""
    names = [
        name
        for name, each in vars(module).items()
        if isinstance(each, type) and issubclass(each, App) and each.__module__ == module.__name__
    ]
    return f"; it has {', '.join(names)}" if names else ""
