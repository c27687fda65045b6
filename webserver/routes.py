"""The IA-API's routes of one app; `R` in the specification is the app's own route."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify, request

from slidehook.app import App
from slidehook.iaapi.models import Registration, VersionInfo, parse_invocation, parse_notification
from slidehook.iaapi.versions import API_VERSION, SOFTWARE_VERSION
from webserver.intake import Intake


def app_routes(app: App, intake: Intake) -> Blueprint:
    """Make the routes of `app`."""
    routes = Blueprint(f"app-{app.id}", __name__, url_prefix=app.route)

    @routes.get("")
    def registration() -> Response:
        return jsonify(
            Registration(
                application_id=app.id,
                display_name=app.name,
                manufacturer=app.manufacturer,
                url=request.url_root.rstrip("/") + app.route,
                input_template=app.input_template(),
            ).to_wire()
        )

    @routes.get("/info")
    def info() -> Response:
        return jsonify(VersionInfo(api_version=API_VERSION, software_version=SOFTWARE_VERSION).to_wire())

    @routes.post("")
    def invocation() -> Response:
        answer: dict[str, Any] = intake.invocation(app, parse_invocation(request.get_data()))
        return jsonify(answer)

    @routes.post("/imagenotification")
    def imagenotification() -> Response:
        intake.notification(app, parse_notification(request.get_data()))
        return jsonify({})

    return routes
