"""The OpenAPI 3.1 description of the webserver's routes, generated from its request and response models."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from slidehook.app import App
from slidehook.dpat.iaapi.models import Cancel, Create, Delete, Modify, Notification, Registration, VersionInfo
from slidehook.dpat.iaapi.versions import API_VERSION
from slidehook.registry.registry import Registry
from slidehook.version import SOFTWARE_VERSION

Json = dict[str, Any]
ACTIONS: dict[str, type[BaseModel]] = {"create": Create, "modify": Modify, "delete": Delete, "cancel": Cancel}
REQUEST_MODELS: tuple[type[BaseModel], ...] = (*ACTIONS.values(), Notification)
RESPONSE_MODELS: tuple[type[BaseModel], ...] = (Registration, VersionInfo)
ERRORS = {
    "400": "The request does not conform to the IA-API, or the app can't process it.",
    "403": "The callback URL is not allowed.",
    "413": "The body is too large.",
    "415": "The body is compressed.",
    "502": "DPAT can't be reached, or refuses the call.",
    "503": "The queue can't be used.",
    "504": "DPAT did not answer in time.",
}
STORED: Json = {
    "type": "object",
    "description": "The stored result as DPAT returned it, or an empty object.",
    "properties": {"id": {"type": ["integer", "string"]}, "versionId": {"type": ["integer", "string"]}},
}


def openapi(registry: Registry) -> Blueprint:
    """Create the route `/openapi.json`."""
    routes = Blueprint("openapi", __name__)

    # Generated on the first request: it takes longer than creating the rest of the site.
    @cache
    def description() -> Json:
        return describe(registry)

    @routes.get("/openapi.json")
    def openapi_json() -> Response:
        return jsonify(description())

    return routes


def describe(registry: Registry) -> Json:
    """Describe the routes of the site and of its apps."""
    paths = {
        "/": {"get": _get("The installed apps", {"type": "object"}, html=True)},
        "/healthz": {"get": _get("Whether the webserver can take jobs", _object(status="string"), "503")},
        "/openapi.json": {"get": _get("This description", {"type": "object"})},
    }
    for app in registry.values():
        paths |= _app_paths(app)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "slidehook",
            "version": SOFTWARE_VERSION,
            "description": f"The app's side of Sectra's IA-API {API_VERSION}.",
        },
        "paths": paths,
        "components": {"schemas": _schemas()},
    }


def _app_paths(app: App) -> Json:
    asked = [_ref(model) for model in ACTIONS.values()]
    names = {action: _ref(model)["$ref"] for action, model in ACTIONS.items()}
    invocation = {"oneOf": asked, "discriminator": {"propertyName": "action", "mapping": names}}
    return {
        app.route: {
            "get": _get(f"{app.name}: the registration", _ref(Registration)),
            "post": _post(f"{app.name}: an invocation", invocation, STORED),
        },
        f"{app.route}/info": {"get": _get(f"{app.name}: the versions", _ref(VersionInfo))},
        f"{app.route}/imagenotification": {
            "post": _post(f"{app.name}: an imported image", _ref(Notification), {"type": "object"})
        },
    }


def _get(summary: str, answer: Json, *errors: str, html: bool = False) -> Json:
    content: Json = {"application/json": {"schema": answer}}
    if html:
        content["text/html"] = {"schema": {"type": "string"}}
    return {
        "summary": summary,
        "responses": {"200": {"description": "OK", "content": content}, **_error_responses(*errors)},
    }


def _post(summary: str, asked: Json, answer: Json) -> Json:
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": {"schema": asked}}},
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": answer}}},
            **_error_responses(*ERRORS),
        },
    }


def _error_responses(*statuses: str) -> Json:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {status: {"description": ERRORS[status], "content": content} for status in statuses}


def _object(**properties: str) -> Json:
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
    }


def _ref(model: type[BaseModel]) -> Json:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


@cache
def _schemas() -> Json:
    models: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = []
    models += [(model, "validation") for model in REQUEST_MODELS]
    models += [(model, "serialization") for model in RESPONSE_MODELS]
    _, found = models_json_schema(models, ref_template="#/components/schemas/{model}")
    schemas: Json = found["$defs"]
    return {**schemas, "Error": _object(error="string")}
