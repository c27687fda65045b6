"""Checks an app's result, either leniently like known servers, or as strictly as a server may."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

from pydantic import ValidationError

from slidehook.dpat.iaapi.models import Item, PatchCollection, ResultRecord, first_fault
from slidehook.simulator.errors import Malformed

MAY_BE_MISSING = {"displayResult": "", "applicationVersion": ""}
INTEGER_FIELDS = frozenset({"id", "versionId", "size", "tag", "state", "patchSize"})
"""Fields of a result that contain whole numbers."""
COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
COLOUR_WITH_ALPHA = re.compile(r"#[0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?")


def check_result(body: bytes, slide_exists: Callable[[str], bool], *, strict: bool) -> dict[str, Any]:
    """Return the result as sent; raises Malformed with one sentence about its first fault.

    Unless `strict`, the texts and the table may be missing, numbers may be strings, whole numbers may have a decimal
    point, and colours may have an alpha value.
    """
    content = json_object(body)
    given = (
        content if strict else {**MAY_BE_MISSING, **{key: each for key, each in content.items() if each is not None}}
    )
    try:
        result = ResultRecord.model_validate(given, strict=strict)
    except ValidationError as error:
        raise Malformed(f"The result is wrong in {first_fault(error).of()}.") from error
    if strict and "displayProperties" not in content:
        raise Malformed("The result lacks the field 'displayProperties'.")
    if not slide_exists(result.slide_id):
        raise Malformed(f"The result is for the slide {result.slide_id!r}, which does not exist.")
    if strict:
        _check_integers({name: content.get(name) for name in ("id", "versionId")}, "result")
        _check_integers(content["data"]["result"], "data.result")
    shapes = result.data.result
    if isinstance(shapes, PatchCollection):
        _check_patches(shapes)
    else:
        _check_colours(shapes.content, COLOUR if strict else COLOUR_WITH_ALPHA)
    return content


def json_object(body: bytes) -> dict[str, Any]:
    """Parse a JSON object; raises Malformed, even on NaN and Infinity, which JSON does not have."""
    try:
        content = json.loads(body, parse_constant=_refuse)
    except ValueError as error:
        raise Malformed("The body is not JSON.") from error
    if not isinstance(content, dict):
        raise Malformed("The body is not a JSON object.")
    return content


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _check_integers(value: Any, where: str) -> None:
    """Raise Malformed if a whole number has a decimal point: typed servers do not parse `2.0` as an integer."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        if name in INTEGER_FIELDS and isinstance(part, float):
            raise Malformed(f"The field {where}.{name} is {part}, but must be a whole number.")
        _check_integers(part, f"{where}.{name}")


def _check_colours(items: list[Item], form: re.Pattern[str]) -> None:
    for number, item in enumerate(items):
        if item.style is None:
            continue
        for name, colour in (("strokeStyle", item.style.stroke_style), ("fillStyle", item.style.fill_style)):
            if colour is not None and not form.fullmatch(colour):
                raise Malformed(f"The {name} of item {number} is {colour!r}, not a colour as #RRGGBB.")


def _check_patches(collection: PatchCollection) -> None:
    tags = len(collection.content.tags)
    for number, patch in enumerate(collection.content.patches):
        if not 0 <= patch.tag < tags:
            raise Malformed(f"Patch {number} has the tag {patch.tag}, but there are {tags} tags.")
