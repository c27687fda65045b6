"""The Flask app: the IA-API below its prefix, the simulator's own endpoints below /sim, and the page."""

from __future__ import annotations

import re

from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from slidehook.simulator.control import control
from slidehook.simulator.dpat import Dpat
from slidehook.simulator.errors import Malformed, MethodNotSupported, SimulatorError
from slidehook.simulator.iaapi_launching import launching
from slidehook.simulator.iaapi_results import results
from slidehook.simulator.iaapi_slides import slides
from slidehook.simulator.page import page

PREFIX = "/SectraPathologyServer/external/imageanalysis/v1"
TOKENLESS_ENDPOINTS = ("results.token", "launching.launch_data")
"""Endpoints that are called with a password or a session instead of a token."""
VERSION = re.compile(r"\d+(\.\d+)*")


def create_app(dpat: Dpat) -> Flask:
    """Create the WSGI app for one DPAT."""
    app = Flask("simulator")
    app.extensions["dpat"] = dpat
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.strict_slashes = dpat.options.strict
    app.register_blueprint(slides, url_prefix=PREFIX)
    app.register_blueprint(results, url_prefix=PREFIX)
    app.register_blueprint(launching, url_prefix=PREFIX)
    app.register_blueprint(control, url_prefix="/sim")
    app.register_blueprint(page)
    app.register_error_handler(SimulatorError, _refused)
    app.register_error_handler(HTTPException, _http_error)

    @app.before_request
    def check_caller() -> None:
        if not request.path.startswith(PREFIX):
            return
        version = request.headers.get("X-Sectra-ApiVersion", "")
        readable = VERSION.fullmatch(version) is not None
        if dpat.options.strict and not readable:
            raise Malformed("The call lacks the header X-Sectra-ApiVersion.")
        if readable and dpat.options.refuse_newer and not dpat.options.has(version):
            raise Malformed(f"This server supports the IA-API only up to {dpat.options.api_version}.")
        if request.endpoint not in TOKENLESS_ENDPOINTS:
            view_args = request.view_args or {}
            names = [view_args[name] for name in ("application_id", "slide_id") if name in view_args]
            if "number" in view_args:
                names += dpat.result_store.slide_of(view_args["number"])
            dpat.tokens.check(request.headers.get("Authorization"), *names)

    @app.after_request
    def add_version_headers(answer: Response) -> Response:
        if request.path.startswith(PREFIX):
            answer.headers.update(dpat.options.version_headers)
        return answer

    return app


def _refused(error: SimulatorError) -> ResponseReturnValue:
    answer = jsonify(message=str(error))
    answer.status_code = error.status
    if isinstance(error, MethodNotSupported):
        answer.headers["Allow"] = "GET, PUT" if request.method == "PATCH" else "GET, PATCH"
    return answer


def _http_error(error: HTTPException) -> ResponseReturnValue:
    answer = jsonify(message=error.description)
    answer.status_code = error.code or 500
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            answer.headers[name] = value
    return answer
