"""The IA-API's routes of one app; `R` in the specification is the app's own route."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import Any

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from slidehook.app import App
from slidehook.dpat.iaapi.models import Registration, VersionInfo, parse_invocation, parse_notification
from slidehook.dpat.iaapi.versions import VERSION_HEADER
from slidehook.results.limits import PLAIN_BODY_BYTES, most_body_bytes
from slidehook.version import SOFTWARE_VERSION
from webserver.addresses import site_url
from webserver.intake import Intake
from webserver.responses import response_version

MAX_LARGE_BODIES = 2
"""How many large bodies a process parses at the same time: parsed, they take many times their size in memory."""
_large_bodies = threading.BoundedSemaphore(MAX_LARGE_BODIES)


def app_routes(app: App, intake: Intake) -> Blueprint:
    """Create the routes of `app`."""
    routes = Blueprint(f"app-{app.id}", __name__, url_prefix=app.route)

    @routes.get("")
    def registration() -> Response:
        return jsonify(
            Registration(
                application_id=app.id,
                display_name=app.name,
                manufacturer=app.manufacturer,
                url=site_url(request) + app.route,
                input_template=app.input_template(),
            ).to_wire()
        )

    @routes.get("/info")
    def info() -> Response:
        return jsonify(VersionInfo(api_version=response_version(), software_version=SOFTWARE_VERSION).to_wire())

    limit = most_body_bytes(app.most_record_bytes())

    @routes.post("")
    def invocation() -> Response:
        body = _body(limit)  # an invocation may contain the largest result that this app may store
        with _large_bodies if len(body) > PLAIN_BODY_BYTES else nullcontext():
            call = parse_invocation(body)
        answer: dict[str, Any] = intake.invocation(app, call, request.headers.get(VERSION_HEADER))
        return jsonify(answer)

    @routes.post("/imagenotification")
    def imagenotification() -> Response:
        call = parse_notification(_body(PLAIN_BODY_BYTES))
        intake.notification(app, call, request.headers.get(VERSION_HEADER))
        return jsonify({})

    return routes


def _body(max_body_bytes: int) -> bytes:
    """Read the request's body; raises RequestEntityTooLarge when it is longer, even without a Content-Length."""
    # Flask silently truncates a body without a length at its limit, so that limit must be one byte larger.
    request.max_content_length = max_body_bytes + 1
    body = request.get_data(cache=False)
    if len(body) > max_body_bytes:
        raise RequestEntityTooLarge
    return body
