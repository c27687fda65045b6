"""The endpoint for external launch applications: the case that a user has open, and a token for its slides."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from slidehook.simulator.current_dpat import current_dpat
from slidehook.simulator.errors import Malformed, NotFound, Unauthorized

launching = Blueprint("launching", __name__)


@launching.get("/launchdata")
def launch_data() -> ResponseReturnValue:
    """Return the blocks and slides of the case `requestId`, an accession number; any `sessionToken` is accepted."""
    dpat = current_dpat()
    if not request.args.get("appId"):
        raise Malformed("The call lacks the parameter appId.")
    if not request.args.get("sessionToken"):
        raise Unauthorized("The call has no session token.")
    number = request.args.get("requestId", "")
    found = dpat.case(number)
    if not found:
        raise NotFound(f"There is no case {number!r}.")
    blocks: dict[str, list[dict[str, Any]]] = {}
    for slide_id in found:
        record = dpat.image_record(slide_id)
        block, staining = (_name(record.get(each)) for each in ("block", "staining"))
        blocks.setdefault(block, []).append({"id": slide_id, "description": staining})
    return jsonify(
        callbackInfo={"url": dpat.callback_url, "token": dpat.token(*found)},
        blocks=[{"name": name, "slides": slides} for name, slides in blocks.items()],
    )


def _name(named: Any) -> str:
    return str(named.get("displayName") or "") if isinstance(named, dict) else ""
