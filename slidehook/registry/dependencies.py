"""Apps that need another app's result: whether they can run, and in which order."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from slidehook.app import App, WholeSlide
from slidehook.errors import SlidehookError


class DependencyMissing(SlidehookError):
    """An app needs the result of another one that cannot run."""


def apps_before(app: App, apps: Mapping[str, App], broken: Collection[str] = ()) -> list[App]:
    """Return the apps whose results `app` needs, directly or not, in the order in which they must run.

    `apps`: the apps that can run, by id; `app` need not be one of them. `broken`: the ids of apps that are installed
    but do not load. Raises DependencyMissing with the reason.
    """
    found: list[App] = []
    names = [app.id]
    each = app
    while (wanted := each.depends_on) is not None:
        names.append(wanted)
        if wanted == app.id:
            raise DependencyMissing(f"{' → '.join(names)} depend on each other")
        if (reason := _hindrance(wanted, names, apps, broken)) is not None:
            direct = each is app
            raise DependencyMissing(f"depends on {names[1]}, which {reason if direct else 'does not load'}")
        each = apps[wanted]
        found.insert(0, each)
    return found


def _hindrance(wanted: str, names: list[str], apps: Mapping[str, App], broken: Collection[str]) -> str | None:
    """Return why an app cannot run before another one; `names` is the chain that led to it, itself the last."""
    if wanted in names[:-1]:
        return "does not load"
    if wanted not in apps:
        return "does not load" if wanted in broken else "is not installed"
    return None if isinstance(apps[wanted].input, WholeSlide) else "needs a region that a user draws"
