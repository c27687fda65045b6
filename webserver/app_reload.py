"""Takes the apps that have changed on disk before the next request is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import TYPE_CHECKING

import structlog

from slidehook.registry.registry import Registry

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = structlog.get_logger()


class ChangedApps:
    """The WSGI application of one process: `site` for the apps of `registry`, as long as they are what is on disk.

    `load` gives the registry that follows one, `build` the application for it. A request that is being answered goes
    on with the code that it began with.
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
        """Answer one request with the code that is on disk when it comes."""
        # Whoever comes while the apps are loaded waits: the code from before is no longer wanted.
        with self._lock:
            if (what := self._registry.changed()) is not None:
                self._take(what)
            site = self._site
        return site(environ, start_response)

    def _take(self, what: str) -> None:
        log.warning("apps changed on disk, the webserver takes what is there now", changed=what)
        self._registry = self._load(self._registry)
        tell_broken(self._registry)
        self._site = self._build(self._registry)


def tell_broken(registry: Registry) -> None:
    """Log which apps do not load; of one that did before, that its code from before goes on."""
    going_on = {origin for app_id, origin in registry.origins.items() if app_id in registry}
    for each in registry.broken:
        words = "app does not load"
        if each.entry_point in going_on:
            words += ", its code from before goes on"
        log.error(words, app=each.entry_point, reason=each.reason)
