"""The IA-API's endpoints for versions, tokens, applications and results."""

from __future__ import annotations

import io
import secrets

from flask import Blueprint, jsonify, request, send_file
from flask.typing import ResponseReturnValue

from slidehook.simulator.current_dpat import since, the_dpat
from slidehook.simulator.errors import Malformed, MethodNotSupported, NotFound, Unauthorized
from slidehook.simulator.result_check import check_result
from slidehook.simulator.results import merged

results = Blueprint("results", __name__)
APPLICATION_FIELDS = ("applicationId", "displayName", "manufacturer", "context")


@results.get("/info")
def info() -> ResponseReturnValue:
    """Answer the versions of the IA-API and of DPAT."""
    options = the_dpat().options
    return jsonify(apiVersion=options.api_version, softwareVersion=options.software_version)


@results.post("/token")
def token() -> ResponseReturnValue:
    """Give the service account a token for a registered app."""
    since("1.9")
    dpat = the_dpat()
    given = request.authorization
    user, password = (given.username, given.password) if given else (None, None)
    right_user = secrets.compare_digest((user or "").encode(), dpat.options.user.encode())
    right_password = secrets.compare_digest((password or "").encode(), dpat.options.password.encode())
    if not (right_user and right_password):
        raise Unauthorized("The user or the password is wrong.")
    if request.form.get("grant_type") != "client_credentials":
        raise Malformed("The form lacks grant_type=client_credentials.")
    dpat.app_list.get(request.args.get("applicationId", ""))
    return jsonify(accessToken=dpat.tokens.give(), tokenType="Bearer", expiresIn=int(dpat.options.token_lifetime_s))


@results.get("/applications/<application_id>")
def application(application_id: str) -> ResponseReturnValue:
    """Answer what DPAT knows of an app."""
    registered = the_dpat().app_list.get(application_id).registration.to_wire()
    return jsonify({name: registered[name] for name in APPLICATION_FIELDS if name in registered})


@results.get("/applications/<application_id>/results/slide/<slide_id>")
def results_of_slide(application_id: str, slide_id: str) -> ResponseReturnValue:
    """Answer the app's results for a slide."""
    dpat = the_dpat()
    dpat.app_list.get(application_id)
    dpat.folder.get(slide_id)
    return jsonify(dpat.result_store.of_slide(application_id, slide_id))


@results.post("/applications/<application_id>/results")
def create_result(application_id: str) -> ResponseReturnValue:
    """Store a result; 201 and the result as stored."""
    dpat = the_dpat()
    dpat.app_list.get(application_id)
    body = check_result(request.get_data(), dpat.folder.knows, strict=dpat.options.strict)
    return jsonify(dpat.result_store.create(application_id, body)), 201


@results.get("/applications/<application_id>/results/<int:number>")
def result(application_id: str, number: int) -> ResponseReturnValue:
    """Answer a stored result."""
    dpat = the_dpat()
    dpat.app_list.get(application_id)
    return jsonify(dpat.result_store.get(application_id, number))


@results.route("/applications/<application_id>/results/<int:number>", methods=["PATCH", "PUT"])
def update_result(application_id: str, number: int, *, needs_version: bool = True) -> ResponseReturnValue:
    """Store a result in another's place; 409 when its version is stale."""
    dpat = the_dpat()
    if dpat.options.update_methods not in ("both", request.method):
        raise MethodNotSupported(f"This server updates results by {dpat.options.update_methods} only.")
    if request.method == "PATCH" and dpat.options.patch.isdigit():
        return jsonify(message=f"PATCH is answered {dpat.options.patch} here."), int(dpat.options.patch)
    dpat.app_list.get(application_id)
    present = dpat.result_store.get(application_id, number)
    body = check_result(request.get_data(), dpat.folder.knows, strict=dpat.options.strict)
    if not needs_version:
        body = {"versionId": present["versionId"], **body}
    if request.method == "PATCH" and dpat.options.patch == "merge":
        body = merged(present, body)
    return jsonify(dpat.result_store.update(application_id, number, body, request.method))


@results.get("/applications/<application_id>/results/<int:number>/attachments")
def attachment(application_id: str, number: int) -> ResponseReturnValue:
    """Answer an attachment's bytes, or the range of them that was asked for."""
    dpat = the_dpat()
    dpat.app_list.get(application_id)
    content = dpat.result_store.attachment(application_id, number, request.args.get("name", ""))
    return send_file(io.BytesIO(content), mimetype="application/octet-stream", conditional=True, etag=False)


@results.post("/hooks/<application_id>/results")
def create_by_hook(application_id: str) -> ResponseReturnValue:
    """Store a result at the address that a program of another's has used."""
    _check_hooks()
    return create_result(application_id)


@results.get("/hooks/<application_id>/results/<int:number>")
def result_by_hook(application_id: str, number: int) -> ResponseReturnValue:
    """Answer a stored result."""
    _check_hooks()
    return result(application_id, number)


@results.route("/hooks/<application_id>/results/<int:number>", methods=["PATCH", "PUT"])
def update_by_hook(application_id: str, number: int) -> ResponseReturnValue:
    """Store a result in another's place.

    That program sends a `resultVersion`. What it must be is not known, so it is kept as it came, and a `versionId`
    need not be there.
    """
    _check_hooks()
    return update_result(application_id, number, needs_version=False)


def _check_hooks() -> None:
    if the_dpat().options.strict:
        raise NotFound("The IA-API has no hooks.")
