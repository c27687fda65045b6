"""A user's change of a stored result: converts it to an app's Result, and the app's answer back to a record.

Fields that a Result does not model (context, attachments, a gallery's statuses, a shape's fill) are preserved.
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
from slidehook.results.receipt import RECEIPT_ROWS
from slidehook.results.sanitize import sanitize_result

FAILED = "update failed"
_OUTDATED = " (before the change)"
"""The suffix of the names of values that are outdated."""
_R = TypeVar("_R")
_V = TypeVar("_V")


def is_notice(record: StoredResult) -> bool:
    """Whether a record only reports that an analysis is in progress, failed or cancelled."""
    rows = record.display_properties.keys()
    return isinstance(record.data.result, Primitive) and STATUS in rows and rows <= {STATUS, PROGRESS}


def result_of(record: StoredResult, frame: Frame) -> Result:
    """Convert a stored result, as changed by the user, to level-0 pixels; raises BadRequest when it is invalid."""
    stored = record.data.result
    result = Result(record.display_result, _properties(record))
    if isinstance(stored, Primitive):
        for item in stored.content:
            result.shapes += _shapes(item, frame)
            result.texts += _texts(item, frame)
        return result
    content = stored.content
    gallery = Gallery(
        [],
        [_patch(number, content, frame) for number in range(len(content.patches))],
        64 if content.patch_size is None else content.patch_size,
        20 if content.magnification is None else content.magnification,
        content.description or "",
        [Button(each.id, each.name or "", each.tooltip or "", each.state == 1) for each in content.actions or []],
    )
    gallery.tags = list(content.tags)  # assigned afterwards: no limit applies to stored tags
    polygons = [_shape(each, BLUE, frame) for each in content.polygons or []]
    result.gallery, result.shapes = gallery, without_region(gallery, polygons, frame)
    return result


def apply_answer(record: StoredResult, answer: Result, frame: Frame, *, application_version: str) -> StoredResult:
    """Return the record to store for a user's change and the app's answer; every button is released.

    The receipt of the analysis stays in the table even if the answer omits it. Raises AppError when the app's answer
    can't be sent.
    """
    answer = sanitize_result(answer)
    rows = _properties(record).items()
    receipt = {name: value for name, value in rows if name in RECEIPT_ROWS and name not in answer.properties}
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
    """Return the record for a change whose update failed: every value is marked as outdated."""
    sentence = f"{FAILED}: {reason.rstrip('.')}"
    old = {
        name if name in RECEIPT_ROWS else f"{name}{_OUTDATED}": value for name, value in _properties(record).items()
    }
    update = {"display_result": sentence, "display_properties": {STATUS: sentence, **old}}
    return record.with_buttons_released().model_copy(update=update)


def _properties(record: StoredResult) -> dict[str, str | int | float]:
    """Return the app's table, without the marks of a failed update."""
    rows = {name: value for name, value in record.display_properties.items() if value is not None}
    if str(rows.get(STATUS, "")).startswith(FAILED):
        del rows[STATUS]
        return {name.removesuffix(_OUTDATED): value for name, value in rows.items()}
    return rows


def _shapes(item: Item, frame: Frame) -> list[Shape]:
    closed = [_shape(each, _colour(item), frame) for each in item.polygons]
    return closed + [_shape(each, _colour(item), frame, closed=False) for each in item.polylines]


def _texts(item: Item, frame: Frame) -> list[Text]:
    return [Text(frame.to_pixel(each.location), each.label, _colour(item)) for each in item.labels]


def _shape(line: Polygon, colour: str, frame: Frame, *, closed: bool = True) -> Shape:
    return Shape(tuple(frame.to_pixel(point) for point in line.points), colour, closed)


def _colour(item: Item) -> str:
    colour = item.style.stroke_style if item.style else None
    return colour if colour is not None and is_colour(colour) else BLUE


def _patch(number: int, content: PatchContent, frame: Frame) -> Patch:
    found = content.patches[number]
    if not 0 <= found.tag < len(content.tags):
        raise BadRequest(f"Patch {number} has the tag {found.tag}, but there are {len(content.tags)} tags.")
    return Patch(content.tags[found.tag], frame.to_pixel(found.position), found.sort_key_value)


# --- from the app's answer to the record


def _items(before: list[Item], answer: Result, frame: Frame) -> list[Item]:
    """Keep unchanged shapes and texts in their own style, and add the new ones."""
    shapes, texts = Counter(answer.shapes), Counter(answer.texts)
    kept = []
    for item in before:
        colour = _colour(item)
        lines = [_shape(each, colour, frame, closed=False) for each in item.polylines]
        update = {
            "polygons": _keep_wanted(item.polygons, [_shape(each, colour, frame) for each in item.polygons], shapes),
            "polylines": _keep_wanted(item.polylines, lines, shapes),
            "labels": _keep_wanted(item.labels, _texts(item, frame), texts),
        }
        if any(update.values()):
            kept.append(item.model_copy(update=update))
    new = Result("", shapes=list(shapes.elements()), texts=list(texts.elements()))
    return kept + items_of(new, frame)


def _keep_wanted(records: Sequence[_R], values: Sequence[_V], wanted: Counter[_V]) -> list[_R]:
    """Return the records whose values are in `wanted`, and decrement its counts."""
    kept = []
    for record, value in zip(records, values, strict=True):
        if wanted[value] > 0:
            wanted[value] -= 1
            kept.append(record)
    return kept


def _gallery(before: PatchContent, answer: Result, gallery: Gallery, frame: Frame) -> PatchContent:
    """Apply the app's answer to the stored gallery; points that did not move keep their exact coordinates."""
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
