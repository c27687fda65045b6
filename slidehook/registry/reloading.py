"""Reloads the apps in a running process, such as one of the webserver's."""

from __future__ import annotations

import sys

from slidehook.registry.registry import Registry, load_apps, taken_by
from slidehook.settings import Settings


def reloaded(settings: Settings, old: Registry) -> Registry:
    """Load all apps from what is on disk now; their modules are imported anew, and nobody else's.

    An app that was loaded before and does not load now stays as it was, and is told among the broken ones as well: a
    half-saved edit takes no app away. What an app's own threads still do, they do with the code from before.
    """
    for name in old.watch.modules if old.watch is not None else ():
        sys.modules.pop(name, None)
    new = load_apps(settings)
    failed = {each.entry_point for each in new.broken}
    apps, origins = dict(new), dict(new.origins)
    for app_id, app in old.items():
        if app_id not in apps and old.origins.get(app_id) in failed and not taken_by(app, apps.values()):
            apps[app_id], origins[app_id] = app, old.origins[app_id]
    return Registry(apps.values(), new.broken, new.unready, watch=new.watch, origins=origins)
