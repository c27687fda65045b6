"""The IA-API's endpoints for slides: records, labels, files, tiles, cases, quality control."""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from slidehook.simulator.current_dpat import current_dpat, require_version
from slidehook.simulator.downloads import FilePart, multipart_files, single_file
from slidehook.simulator.errors import Malformed, NotFound
from slidehook.simulator.faults import Fault
from slidehook.simulator.middleware import FAULT_KEY
from slidehook.simulator.pictures import FORMATS
from slidehook.simulator.result_check import json_object

slides = Blueprint("slides", __name__)
TILE = re.compile(r"(\d{1,9})_(\d{1,9})(?:_(\d+))?\.([a-z]+)")


def _flag(name: str) -> bool:
    value = request.args.get(name, "false")
    return (value if current_dpat().options.strict else value.lower()) == "true"


@slides.get("/slides/<slide_id>/info")
def slide_info(slide_id: str) -> ResponseReturnValue:
    """Return the image record. It always has all known fields, because the effect of `scope` is unknown."""
    return jsonify(current_dpat().image_record(slide_id, phi=_flag("includePHI")))


@slides.get("/slides/<slide_id>/label")
def label(slide_id: str) -> ResponseReturnValue:
    """Return the label as JPEG, or 204."""
    dpat = current_dpat()
    content = dpat.pictures.label(dpat.folder.get(slide_id))
    return Response(content, mimetype="image/jpeg") if content else Response(status=204)


@slides.get("/slides/<slide_id>/files")
def files(slide_id: str) -> ResponseReturnValue:
    """Return the slide's files, as one file or as multipart."""
    dpat = current_dpat()
    pieces = [FilePart(file.name, file.path, file.size_bytes) for file in dpat.folder.get(slide_id).files]
    fault: Fault | None = request.environ.get(FAULT_KEY)
    if fault and fault.kind == "short":
        last = pieces.pop()
        pieces.append(FilePart(last.name, last.path, fault.kept_bytes(last.size_bytes)))
    boundary = f"part-{secrets.token_hex(16)}"
    if fault and fault.kind == "parts":
        given = [*fault.dispositions, *([None] * len(pieces))]
        pieces = [replace(piece, disposition=each) for piece, each in zip(pieces, given, strict=False)]
        boundary = fault.boundary or boundary
    whole = single_file(pieces[0]) if len(pieces) == 1 else multipart_files(pieces, dpat.options.multipart, boundary)
    answer = Response(whole.chunks(), headers=whole.headers)
    answer.content_length = whole.size_bytes
    return answer


@slides.get("/images/<slide_id>_files/<int:level>/<name>")
def tile(slide_id: str, level: int, name: str) -> ResponseReturnValue:
    """Return one Deep Zoom tile; the only focal plane and the only optical path are "0"."""
    dpat = current_dpat()
    slide = dpat.folder.get(slide_id)
    parts = TILE.fullmatch(name)
    if parts is None:
        raise NotFound(f"{name!r} is not the name of a tile.")
    col, row, plane, extension = parts.groups()
    if plane not in (None, "0") or request.args.get("opticalPath", "0") != "0":
        raise NotFound(f"The slide {slide_id!r} has neither this focal plane nor this optical path.")
    if dpat.image_record(slide_id)["isStreamable"] is False:
        raise NotFound(f"The slide {slide_id!r} can't be streamed.")
    content = dpat.pictures.tile(slide, level, int(col), int(row), extension)
    return Response(content, mimetype=FORMATS[extension][1])


@slides.get("/requests/<accession_number>/images/info")
def case(accession_number: str) -> ResponseReturnValue:
    """Return the image records of a case's slides."""
    require_version("1.9")
    issuer = request.args.get("accessionNumberIssuer") or request.args.get("accessionNumberIssuerId")
    found = current_dpat().case(accession_number, issuer)
    if not found:
        raise NotFound(f"There is no case {accession_number!r}.")
    return jsonify(_records(found))


@slides.get("/slides/<slide_id>/request/images/info")
def case_of_slide(slide_id: str) -> ResponseReturnValue:
    """Return the image records of the slide's case, or of the slide alone if it has no accession number."""
    require_version("1.9")
    dpat = current_dpat()
    number, issuer = dpat.records.accession(dpat.folder.get(slide_id))
    return jsonify(_records(dpat.case(number, issuer) if number else [slide_id]))


@slides.put("/slides/<slide_id>/qualityControl")
def quality_control(slide_id: str) -> ResponseReturnValue:
    """Change the slide's quality control; returns its new `status` and `versionId`."""
    require_version("1.10")
    dpat = current_dpat()
    dpat.folder.get(slide_id)
    body = json_object(request.get_data())
    wanted = body.get("qualityControl")
    if not isinstance(body.get("applicationVersion"), str) or not isinstance(wanted, dict):
        raise Malformed("The body lacks 'applicationVersion' or 'qualityControl'.")
    return jsonify(dpat.quality.put(slide_id, wanted.get("status"), wanted.get("versionId")))


def _records(slide_ids: list[str]) -> list[dict[str, Any]]:
    phi = _flag("includePHI")
    return [current_dpat().image_record(slide_id, phi=phi) for slide_id in slide_ids]
