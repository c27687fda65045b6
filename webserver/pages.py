"""The pages `/`, an overview for people and programs, and `/healthz` for monitoring."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, render_template, request

from slidehook.dpat.iaapi.versions import API_VERSION
from slidehook.registry.registry import Registry
from slidehook.version import SOFTWARE_VERSION
from webserver.addresses import site_url
from webserver.health import Health


def pages(registry: Registry, health: Health) -> Blueprint:
    """Create the pages; they contain no data of any slide."""
    routes = Blueprint("pages", __name__, template_folder="templates")

    @routes.get("/")
    def index() -> Response | str:
        base = site_url(request)
        apps = [
            {"id": app.id, "name": app.name, "version": app.version, "input": app.input.type, "url": base + app.route}
            for app in registry.values()
        ]
        broken = [{"entryPoint": each.entry_point, "reason": each.reason} for each in registry.broken]
        unready = [{"id": each.app.id, "name": each.app.name, "lacks": each.lacks} for each in registry.unready]
        content = {"apps": apps, "unready": unready, "broken": broken}
        if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
            return render_template("index.html", api=API_VERSION, software=SOFTWARE_VERSION, **content)
        return jsonify(software="slidehook", softwareVersion=SOFTWARE_VERSION, apiVersion=API_VERSION, **content)

    @routes.get("/healthz")
    def healthz() -> Response:
        health.check()
        return jsonify(status="ok")

    return routes
