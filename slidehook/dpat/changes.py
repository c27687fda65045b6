"""A user's change to a stored result: as an app's Result, and back as the record that is stored.

What a Result does not model (context, attachments, a gallery's statuses, how a shape is filled) stays as it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

from slidehook.dpat.iaapi.models import Item, PatchCollection, PatchContent, Primitive, StoredResult
from slidehook.dpat.marks import PROGRESS, STATUS
from slidehook.dpat.patch_region import with_region, without_region
from slidehook.dpat.records import gallery_content, items_of, shown
from slidehook.errors import BadRequest
from slidehook.geometry import Frame, PixelPoint
from slidehook.models import Point, Polygon
from slidehook.result import BLUE, Button, Gallery, Patch, Result, Shape, Text, is_colour
from slidehook.results.receipt import NAMES
from slidehook.results.sanitize import sanitize_result

FAILED = "update failed"
_OLD = " (before the change)"
"""What the names of numbers bear that no longer hold."""
_R = TypeVar("_R")
_V = TypeVar("_V")


def is_notice(record: StoredResult) -> bool:
    """Say whether a result is none of an app's but says that one is in progress, failed or cancelled."""
    rows = record.display_properties.keys()
    return isinstance(record.data.result, Primitive) and STATUS in rows and rows <= {STATUS, PROGRESS}


def result_of(record: StoredResult, frame: Frame) -> Result:
    """Give a stored result, as the user changed it, in level-0 pixels; raises BadRequest when it makes no sense."""
    found = record.data.result
    result = Result(record.display_result, _properties(record))
    if isinstance(found, Primitive):
        for item in found.content:
            result.shapes += _shapes(item, frame)
            result.texts += _texts(item, frame)
        return result
    content = found.content
    gallery = Gallery(
        [],
        [_patch(number, content, frame) for number in range(len(content.patches))],
        64 if content.patch_size is None else content.patch_size,
        20 if content.magnification is None else content.magnification,
        content.description or "",
        [Button(each.id, each.name or "", each.tooltip or "", each.state == 1) for each in content.actions or []],
    )
    gallery.tags = list(content.tags)  # as many as DPAT has stored
    polygons = [_shape(each, BLUE, frame) for each in content.polygons or []]
    result.gallery, result.shapes = gallery, without_region(gallery, polygons, frame)
    return result


def changed(record: StoredResult, answer: Result, frame: Frame, *, application_version: str) -> StoredResult:
    """Give what is to be stored of a user's change that an app has answered; every button is released.

    The receipt of the analysis stays in the table, also when the answer leaves it out. Raises AppError when the
    app's answer can't be sent.
    """
    answer = sanitize_result(answer)
    rows = _properties(record).items()
    receipt = {name: value for name, value in rows if name in NAMES and name not in answer.properties}
    before = record.data.result
    what: Primitive | PatchCollection
    if answer.gallery is not None and isinstance(before, PatchCollection):
        what = PatchCollection(content=_gallery(before.content, answer, answer.gallery, frame))
    elif answer.gallery is None and isinstance(before, Primitive):
        what = Primitive(content=_items(before.content, answer, frame))
    else:
        what = shown(answer, frame)
    return record.model_copy(
        update={
            "display_result": answer.text,
            "display_properties": answer.properties | receipt,
            "application_version": application_version,
            "data": record.data.model_copy(update={"result": what}),
        }
    )


def failed_change(record: StoredResult, reason: str) -> StoredResult:
    """Give a user's change whose update failed: nothing of it may pass for a number that still holds."""
    sentence = f"{FAILED}: {reason.rstrip('.')}"
    old = {name if name in NAMES else f"{name}{_OLD}": value for name, value in _properties(record).items()}
    update = {"display_result": sentence, "display_properties": {STATUS: sentence, **old}}
    return record.with_buttons_released().model_copy(update=update)


def _properties(record: StoredResult) -> dict[str, str | int | float]:
    """Give the table as the app made it, without what a failed update has put there."""
    found = {name: value for name, value in record.display_properties.items() if value is not None}
    if str(found.get(STATUS, "")).startswith(FAILED):
        del found[STATUS]
        return {name.removesuffix(_OLD): value for name, value in found.items()}
    return found


def _shapes(item: Item, frame: Frame) -> list[Shape]:
    closed = [_shape(each, _colour(item), frame) for each in item.polygons]
    return closed + [_shape(each, _colour(item), frame, closed=False) for each in item.polylines]


def _texts(item: Item, frame: Frame) -> list[Text]:
    return [Text(frame.to_pixel(each.location), each.label, _colour(item)) for each in item.labels]


def _shape(line: Polygon, colour: str, frame: Frame, *, closed: bool = True) -> Shape:
    return Shape(tuple(frame.to_pixel(point) for point in line.points), colour, closed)


def _colour(item: Item) -> str:
    told = item.style.stroke_style if item.style else None
    return told if told is not None and is_colour(told) else BLUE


def _patch(number: int, content: PatchContent, frame: Frame) -> Patch:
    found = content.patches[number]
    if not 0 <= found.tag < len(content.tags):
        raise BadRequest(f"Patch {number} has the tag {found.tag}, but there are {len(content.tags)} tags.")
    return Patch(content.tags[found.tag], frame.to_pixel(found.position), found.sort_key_value)


# --- back


def _items(before: list[Item], answer: Result, frame: Frame) -> list[Item]:
    """Keep what is still there in its own style, and add what is new."""
    shapes, texts = Counter(answer.shapes), Counter(answer.texts)
    kept = []
    for item in before:
        colour = _colour(item)
        lines = [_shape(each, colour, frame, closed=False) for each in item.polylines]
        update = {
            "polygons": _still_there(item.polygons, [_shape(each, colour, frame) for each in item.polygons], shapes),
            "polylines": _still_there(item.polylines, lines, shapes),
            "labels": _still_there(item.labels, _texts(item, frame), texts),
        }
        if any(update.values()):
            kept.append(item.model_copy(update=update))
    new = Result("", shapes=list(shapes.elements()), texts=list(texts.elements()))
    return kept + items_of(new, frame)


def _still_there(records: Sequence[_R], values: Sequence[_V], wanted: Counter[_V]) -> list[_R]:
    """Give the records whose values are among the wanted ones, and count those down."""
    kept = []
    for record, value in zip(records, values, strict=True):
        if wanted[value] > 0:
            wanted[value] -= 1
            kept.append(record)
    return kept


def _gallery(before: PatchContent, answer: Result, gallery: Gallery, frame: Frame) -> PatchContent:
    """Put what an app can change into the gallery that was there; what has not moved keeps its exact place."""
    points = [point for each in before.polygons or [] for point in each.points]
    exact = {frame.to_pixel(point): point for point in [*points, *(each.position for each in before.patches)]}

    def place(at: PixelPoint) -> Point:
        return exact.get(at) or frame.to_result(at)

    content = gallery_content(gallery, answer.shapes, place)
    if _places(content) != _places(before):
        content = gallery_content(gallery, with_region(gallery, answer.shapes, frame), place)
    return content.model_copy(update={"statuses": before.statuses})


def _places(content: PatchContent) -> tuple[list[Point], list[Polygon]]:
    return [each.position for each in content.patches], content.polygons or []
