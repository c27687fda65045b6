"""A user's change of a stored result: converts it to an app's Result, and the app's answer back to a record.

Fields that a Result does not model (context, attachments, a gallery's statuses, a shape's fill) are preserved.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from slidehook.dpat import kinds
from slidehook.dpat.iaapi.models import Item, PatchCollection, PatchContent, Primitive, StoredResult
from slidehook.dpat.kinds import FAILED, ITEM_LISTS, OUTDATED, Draft, app_rows, gallery_content, item_kinds, read_item
from slidehook.dpat.marks import PROGRESS, STATUS
from slidehook.dpat.patch_region import with_region
from slidehook.dpat.records import draft_of
from slidehook.geometry import Frame, PixelPoint
from slidehook.models import Point, Polygon
from slidehook.result import Gallery, Result
from slidehook.results.receipt import RECEIPT_ROWS
from slidehook.results.sanitize import sanitize_result


def is_notice(record: StoredResult) -> bool:
    """Whether a record only reports that an analysis is in progress, failed or cancelled."""
    rows = record.display_properties.keys()
    return isinstance(record.data.result, Primitive) and STATUS in rows and rows <= {STATUS, PROGRESS}


def result_of(record: StoredResult, frame: Frame) -> Result:
    """Convert a stored result, as changed by the user, to level-0 pixels; raises BadRequest when it is invalid."""
    result = Result("")
    for kind in kinds.KINDS:
        kind.read_back(record, result, frame)
    return result


def apply_answer(record: StoredResult, answer: Result, frame: Frame, *, application_version: str) -> StoredResult:
    """Return the record to store for a user's change and the app's answer; every button is released.

    The receipt of the analysis stays in the table even if the answer omits it. Raises AppError when the app's answer
    can't be sent.
    """
    answer = sanitize_result(answer)
    rows = app_rows(record).items()
    receipt = {name: value for name, value in rows if name in RECEIPT_ROWS and name not in answer.properties}
    before = record.data.result
    what: Primitive | PatchCollection
    if answer.gallery is not None and isinstance(before, PatchCollection):
        what = PatchCollection(content=_gallery(before.content, answer, answer.gallery, frame))
    elif answer.gallery is None and isinstance(before, Primitive):
        what = Primitive(content=_items(before.content, answer, frame))
    else:
        what = draft_of(answer, frame).shown()
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
    old = {name if name in RECEIPT_ROWS else f"{name}{OUTDATED}": value for name, value in app_rows(record).items()}
    update = {"display_result": sentence, "display_properties": {STATUS: sentence, **old}}
    return record.with_buttons_released().model_copy(update=update)


# --- from the app's answer to the record


def _items(before: list[Item], answer: Result, frame: Frame) -> list[Item]:
    """Keep unchanged shapes and texts in their own style, and add the new ones."""
    wanted = Counter((kind, value) for kind in item_kinds() for value in kind.values(answer))
    kept = []
    for item in before:
        update: dict[str, list[Any]] = {name: [] for name in ITEM_LISTS}
        for name, record, kind, value in read_item(item, frame):
            if wanted[kind, value] > 0:
                wanted[kind, value] -= 1
                update[name].append(record)
        if any(update.values()):
            kept.append(item.model_copy(update=update))
    new = Draft(frame)
    for kind, value in wanted.elements():
        new.add(*kind.to_item(value, frame.to_result))
    return kept + new.items()


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
