"""Reloads apps that have changed on disk before the next request is served."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import TYPE_CHECKING

import structlog

from slidehook.registry.registry import Registry

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = structlog.get_logger()


class ReloadingSite:
    """The WSGI application of one process: `site` with the apps of `registry`, replaced when they change on disk.

    `load` returns the new state of a registry, `build` the application for it. A running request continues with the
    code that it started with.
    """

    def __init__(
        self,
        site: WSGIApplication,
        registry: Registry,
        *,
        load: Callable[[Registry], Registry],
        build: Callable[[Registry], WSGIApplication],
    ) -> None:
        self._site = site
        self._registry = registry
        self._load = load
        self._build = build
        self._lock = Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request with the code that is on disk at its arrival."""
        # Requests wait during a reload, because the old code must not serve them.
        with self._lock:
            if (changes := self._registry.changed()) is not None:
                self._reload(changes)
            site = self._site
        return site(environ, start_response)

    def _reload(self, changes: str) -> None:
        log.warning("apps changed on disk, the webserver reloads them", changed=changes)
        self._registry = self._load(self._registry)
        log_broken_apps(self._registry)
        self._site = self._build(self._registry)


def log_broken_apps(registry: Registry) -> None:
    """Log the apps that do not load, and whether an earlier version of the app stays in use."""
    still_loaded = {origin for app_id, origin in registry.origins.items() if app_id in registry}
    for each in registry.broken:
        event = "app does not load"
        if each.entry_point in still_loaded:
            event += ", its earlier version stays in use"
        log.error(event, app=each.entry_point, reason=each.reason)
