"""Checks a result that an app sends: leniently, as known servers do, or as strictly as a server may."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

from pydantic import ValidationError

from slidehook.dpat.iaapi.models import Item, PatchCollection, ResultRecord
from slidehook.simulator.errors import Malformed, first_fault

MAY_BE_MISSING = {"displayResult": "", "applicationVersion": ""}
WHOLE = frozenset({"id", "versionId", "size", "tag", "state", "patchSize"})
"""Fields of a result whose numbers are whole."""
COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
COLOUR_WITH_ALPHA = re.compile(r"#[0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?")


def check_result(body: bytes, knows_slide: Callable[[str], bool], *, strict: bool) -> dict[str, Any]:
    """Give the result as it was sent; raises Malformed with one sentence on its first fault.

    Unless `strict`, the texts and the table may be missing, numbers may be texts, whole ones may have a point, and
    colours may bear an alpha.
    """
    content = json_object(body)
    given = (
        content if strict else {**MAY_BE_MISSING, **{key: each for key, each in content.items() if each is not None}}
    )
    try:
        result = ResultRecord.model_validate(given, strict=strict)
    except ValidationError as error:
        raise Malformed(f"The result is wrong in {first_fault(error)}.") from error
    if strict and "displayProperties" not in content:
        raise Malformed("The result lacks the field 'displayProperties'.")
    if not knows_slide(result.slide_id):
        raise Malformed(f"The result is for the slide {result.slide_id!r}, which does not exist.")
    if strict:
        _check_whole({name: content.get(name) for name in ("id", "versionId")}, "result")
        _check_whole(content["data"]["result"], "data.result")
    shapes = result.data.result
    if isinstance(shapes, PatchCollection):
        _check_patches(shapes)
    else:
        _check_colours(shapes.content, COLOUR if strict else COLOUR_WITH_ALPHA)
    return content


def json_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object; raises Malformed, also on NaN and Infinity, which JSON does not have."""
    try:
        content = json.loads(body, parse_constant=_refuse)
    except ValueError as error:
        raise Malformed("The body is not JSON.") from error
    if not isinstance(content, dict):
        raise Malformed("The body is not a JSON object.")
    return content


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _check_whole(value: Any, where: str) -> None:
    """Raise Malformed where a whole number is written with a point: typed servers read no `2.0` as one."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        if name in WHOLE and isinstance(part, float):
            raise Malformed(f"The field {where}.{name} is {part}, but must be a whole number.")
        _check_whole(part, f"{where}.{name}")


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
