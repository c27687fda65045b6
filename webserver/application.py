"""Assembles the webserver."""

from __future__ import annotations

import atexit

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from slidehook.jobs.factory import open_queue
from slidehook.logs import set_up_logging
from slidehook.registry.registry import Registry, load_apps
from slidehook.registry.reloading import reloaded
from slidehook.results.limits import PLAIN_BODY_BYTES
from slidehook.settings import Settings, read_settings
from webserver.addresses import NormalizedPaths
from webserver.app_reload import ReloadingSite, log_broken_apps
from webserver.health import Health
from webserver.intake import Intake
from webserver.openapi import openapi
from webserver.pages import pages
from webserver.responses import set_up_responses
from webserver.routes import app_routes


def create_app(settings: Settings | None = None, registry: Registry | None = None) -> Flask:
    """Create the WSGI application of one gunicorn process; missing arguments are read from the environment."""
    settings = settings or read_settings()
    set_up_logging()
    registry = registry or load_apps(settings)
    log_broken_apps(registry)
    queue = open_queue(settings, "web")
    atexit.register(queue.close)
    intake = Intake(settings, queue.sink())
    health = Health(queue.check_puttable)
    flask = _site(settings, registry, health, intake)
    flask.wsgi_app = ReloadingSite(  # type: ignore[method-assign]
        flask.wsgi_app,
        registry,
        load=lambda old: reloaded(settings, old),
        build=lambda new: _site(settings, new, health, intake).wsgi_app,
    )
    return flask


def _site(settings: Settings, registry: Registry, health: Health, intake: Intake) -> Flask:
    """Create the application for the apps of one registry."""
    flask = Flask("webserver", static_folder=None)
    flask.wsgi_app = NormalizedPaths(flask.wsgi_app)  # type: ignore[method-assign]
    flask.config["MAX_CONTENT_LENGTH"] = PLAIN_BODY_BYTES
    flask.json.sort_keys = False  # type: ignore[attr-defined]
    set_up_responses(flask)
    flask.register_blueprint(pages(registry, health))
    flask.register_blueprint(openapi(registry))
    for app in registry.values():
        flask.register_blueprint(app_routes(app, intake))
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        flask.wsgi_app = ProxyFix(flask.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    return flask
