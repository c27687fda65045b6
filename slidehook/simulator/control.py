"""The endpoints below /sim: actions of administrators, users and tests, as JSON over HTTP."""

from __future__ import annotations

from typing import Any, TypeVar

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from slidehook.dpat.iaapi.models import first_fault
from slidehook.simulator.current_dpat import current_dpat
from slidehook.simulator.errors import Malformed
from slidehook.simulator.faults import Fault

control = Blueprint("control", __name__)
FAULT: TypeAdapter[Fault] = TypeAdapter(Fault)


class _Body(BaseModel):
    # Unknown fields are rejected: with a misspelt one, a test would silently test something else.
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


class _Register(_Body):
    url: str


class _Change(_Body):
    enabled: bool | None = None
    notifications: bool | None = None


class _Invoke(_Body):
    application_id: str
    slide_id: str
    action: str = "create"
    input: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    cancellation_token: str | None = None
    moved: dict[int, str] | None = None
    pressed: list[str] = []


class _Notify(_Body):
    slide_id: str
    old: bool = False
    include_phi: bool = False


B = TypeVar("B", bound=_Body)


def _body(model: type[B]) -> B:
    # get_json requires the JSON content type, which a form on another site can't send.
    try:
        return model.model_validate(request.get_json())
    except ValidationError as error:
        raise Malformed(f"The body is wrong: {first_fault(error).of()}.") from error


@control.get("/healthz")
def healthz() -> ResponseReturnValue:
    """Report that the simulator is running."""
    dpat = current_dpat()
    return jsonify(status="ok", apiVersion=dpat.options.api_version, callbackUrl=dpat.callback_url)


@control.post("/apps")
def register() -> ResponseReturnValue:
    """Register an app by its URL."""
    return jsonify(current_dpat().register(_body(_Register).url).to_json()), 201


@control.get("/apps")
def apps() -> ResponseReturnValue:
    """List the apps."""
    return jsonify([app.to_json() for app in current_dpat().apps()])


@control.patch("/apps/<application_id>")
def change(application_id: str) -> ResponseReturnValue:
    """Switch an app, or its notifications, on or off."""
    wanted = _body(_Change)
    app = current_dpat().enable(application_id, enabled=wanted.enabled, notifications=wanted.notifications)
    return jsonify(app.to_json())


@control.delete("/apps/<application_id>")
def remove(application_id: str) -> ResponseReturnValue:
    """Remove an app."""
    current_dpat().remove(application_id)
    return Response(status=204)


@control.get("/slides")
def list_slides() -> ResponseReturnValue:
    """List the slides' image records, without PHI, each with the names and sizes of its files."""
    dpat = current_dpat()
    return jsonify(
        [
            {
                **dpat.image_record(slide.id),
                "files": [{"name": file.name, "bytes": file.size_bytes} for file in slide.files],
            }
            for slide in dpat.slides()
        ]
    )


@control.get("/slides/<slide_id>/thumbnail.jpg")
def thumbnail(slide_id: str) -> ResponseReturnValue:
    """Return a thumbnail of at most 480 pixels."""
    dpat = current_dpat()
    return Response(dpat.pictures.thumbnail(dpat.folder.get(slide_id), 480), mimetype="image/jpeg")


@control.post("/invocations")
def invoke() -> ResponseReturnValue:
    """Invoke an app on a slide."""
    wanted = _body(_Invoke)
    answer = current_dpat().invoke(
        wanted.application_id,
        wanted.slide_id,
        wanted.action,
        input=wanted.input,
        context=wanted.context,
        cancellation_token=wanted.cancellation_token,
        moved=wanted.moved,
        pressed=wanted.pressed,
    )
    return jsonify(answer.to_json())


@control.post("/notifications")
def notify() -> ResponseReturnValue:
    """Notify the apps of an imported slide."""
    wanted = _body(_Notify)
    answers = current_dpat().notify(wanted.slide_id, old=wanted.old, include_phi=wanted.include_phi)
    return jsonify([answer.to_json() for answer in answers])


@control.get("/results")
def list_results() -> ResponseReturnValue:
    """List the results with their history."""
    return jsonify(current_dpat().results(request.args.get("applicationId"), request.args.get("slideId")))


@control.put("/results/<int:number>/attachments/<name>")
def attach(number: int, name: str) -> ResponseReturnValue:
    """Attach the body as a file to a result."""
    current_dpat().attach(number, name, request.get_data())
    return Response(status=204)


@control.get("/calls")
def calls() -> ResponseReturnValue:
    """List the IA-API calls received."""
    return jsonify([call.to_json() for call in current_dpat().calls()])


@control.delete("/calls")
def clear_calls() -> ResponseReturnValue:
    """Clear the log of IA-API calls."""
    current_dpat().clear_calls()
    return Response(status=204)


@control.post("/tokens/expire")
def expire_tokens() -> ResponseReturnValue:
    """Expire all tokens."""
    return jsonify(expired=current_dpat().expire_tokens())


@control.post("/faults")
def add_fault() -> ResponseReturnValue:
    """Add a fault."""
    body = request.get_json()
    if not isinstance(body, dict) or not set(body) <= set(Fault.__dataclass_fields__):
        raise Malformed(f"A fault has the fields {', '.join(Fault.__dataclass_fields__)}.")
    try:
        fault = FAULT.validate_python(body)
    except ValidationError as error:
        raise Malformed(f"The fault is wrong: {first_fault(error).of()}.") from error
    current_dpat().fault_list.add(fault)
    return jsonify(fault.to_json()), 201


@control.get("/faults")
def faults() -> ResponseReturnValue:
    """List the remaining faults."""
    return jsonify([fault.to_json() for fault in current_dpat().faults()])


@control.delete("/faults")
def clear_faults() -> ResponseReturnValue:
    """Remove all faults."""
    current_dpat().clear_faults()
    return Response(status=204)
