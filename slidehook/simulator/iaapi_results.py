"""The IA-API's endpoints for versions, tokens, applications and results."""

from __future__ import annotations

import io
import secrets

from flask import Blueprint, jsonify, request, send_file
from flask.typing import ResponseReturnValue

from slidehook.simulator.current_dpat import current_dpat, require_version
from slidehook.simulator.errors import Malformed, MethodNotSupported, NotFound, Unauthorized
from slidehook.simulator.result_check import check_result
from slidehook.simulator.results import merge_patch

results = Blueprint("results", __name__)
APPLICATION_FIELDS = ("applicationId", "displayName", "manufacturer", "context")


@results.get("/info")
def info() -> ResponseReturnValue:
    """Return the versions of the IA-API and of DPAT."""
    options = current_dpat().options
    return jsonify(apiVersion=options.api_version, softwareVersion=options.software_version)


@results.post("/token")
def token() -> ResponseReturnValue:
    """Issue a token for a registered app to the service account."""
    require_version("1.9")
    dpat = current_dpat()
    credentials = request.authorization
    user, password = (credentials.username, credentials.password) if credentials else (None, None)
    right_user = secrets.compare_digest((user or "").encode(), dpat.options.user.encode())
    right_password = secrets.compare_digest((password or "").encode(), dpat.options.password.encode())
    if not (right_user and right_password):
        raise Unauthorized("The user or the password is wrong.")
    if request.form.get("grant_type") != "client_credentials":
        raise Malformed("The form lacks grant_type=client_credentials.")
    dpat.app_list.get(request.args.get("applicationId", ""))
    return jsonify(accessToken=dpat.tokens.issue(), tokenType="Bearer", expiresIn=int(dpat.options.token_lifetime_s))


@results.get("/applications/<application_id>")
def application(application_id: str) -> ResponseReturnValue:
    """Return an app's registration."""
    registered = current_dpat().app_list.get(application_id).registration.to_wire()
    return jsonify({name: registered[name] for name in APPLICATION_FIELDS if name in registered})


@results.get("/applications/<application_id>/results/slide/<slide_id>")
def results_of_slide(application_id: str, slide_id: str) -> ResponseReturnValue:
    """Return the app's results for a slide."""
    dpat = current_dpat()
    dpat.app_list.get(application_id)
    dpat.folder.get(slide_id)
    return jsonify(dpat.result_store.of_slide(application_id, slide_id))


@results.post("/applications/<application_id>/results")
def create_result(application_id: str) -> ResponseReturnValue:
    """Store a result; returns 201 and the result as stored."""
    dpat = current_dpat()
    dpat.app_list.get(application_id)
    body = check_result(request.get_data(), dpat.folder.exists, strict=dpat.options.strict)
    return jsonify(dpat.result_store.create(application_id, body)), 201


@results.get("/applications/<application_id>/results/<int:number>")
def result(application_id: str, number: int) -> ResponseReturnValue:
    """Return a stored result."""
    dpat = current_dpat()
    dpat.app_list.get(application_id)
    return jsonify(dpat.result_store.get(application_id, number))


@results.route("/applications/<application_id>/results/<int:number>", methods=["PATCH", "PUT"])
def update_result(application_id: str, number: int, *, needs_version: bool = True) -> ResponseReturnValue:
    """Replace a stored result; 409 when the sent version is stale."""
    dpat = current_dpat()
    if dpat.options.update_methods not in ("both", request.method):
        raise MethodNotSupported(f"This server updates results by {dpat.options.update_methods} only.")
    if request.method == "PATCH" and dpat.options.patch.isdigit():
        return jsonify(message=f"This server answers PATCH with {dpat.options.patch}."), int(dpat.options.patch)
    dpat.app_list.get(application_id)
    present = dpat.result_store.get(application_id, number)
    body = check_result(request.get_data(), dpat.folder.exists, strict=dpat.options.strict)
    if not needs_version:
        body = {"versionId": present["versionId"], **body}
    if request.method == "PATCH" and dpat.options.patch == "merge":
        body = merge_patch(present, body)
    return jsonify(dpat.result_store.update(application_id, number, body, request.method))


@results.get("/applications/<application_id>/results/<int:number>/attachments")
def attachment(application_id: str, number: int) -> ResponseReturnValue:
    """Return an attachment's bytes, or the requested range of them."""
    dpat = current_dpat()
    dpat.app_list.get(application_id)
    content = dpat.result_store.attachment(application_id, number, request.args.get("name", ""))
    return send_file(io.BytesIO(content), mimetype="application/octet-stream", conditional=True, etag=False)


@results.post("/hooks/<application_id>/results")
def create_by_hook(application_id: str) -> ResponseReturnValue:
    """Store a result at the URL that a third-party program has used."""
    _check_hooks()
    return create_result(application_id)


@results.get("/hooks/<application_id>/results/<int:number>")
def result_by_hook(application_id: str, number: int) -> ResponseReturnValue:
    """Return a stored result."""
    _check_hooks()
    return result(application_id, number)


@results.route("/hooks/<application_id>/results/<int:number>", methods=["PATCH", "PUT"])
def update_by_hook(application_id: str, number: int) -> ResponseReturnValue:
    """Replace a stored result.

    That program sends a `resultVersion`, whose meaning is unknown. It is stored unchanged, and a `versionId` is
    optional.
    """
    _check_hooks()
    return update_result(application_id, number, needs_version=False)


def _check_hooks() -> None:
    if current_dpat().options.strict:
        raise NotFound("The IA-API has no hooks.")
