"""Applies a user's change to the newest version of a result, after the app's `on_modify`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from pydantic import ValidationError

from slidehook.app import App
from slidehook.dpat.errors import Conflict, Malformed
from slidehook.dpat.iaapi.client import DpatClient
from slidehook.dpat.iaapi.models import ImageInfo, Modify, Stored, StoredResult
from slidehook.dpat.iaapi.result_calls import CONFLICT_ROUNDS
from slidehook.dpat.merging import can_merge, overlay_our_fields, three_way_merge
from slidehook.dpat.quality import set_quality
from slidehook.models.first_fault import first_fault
from slidehook.result import Quality
from webserver.result_versions import ResultVersions

CHANGED_MEANWHILE = "The result was changed by somebody else; reload it, then repeat your change."
AnsweredChange = tuple[StoredResult, tuple[ImageInfo, Quality] | None]
Answer = Callable[[App, StoredResult, Callable[[], ImageInfo]], AnsweredChange]


def apply_change(app: App, client: DpatClient, call: Modify, versions: ResultVersions, answer: Answer) -> Stored:
    """Merge a user's change into the newest version of the result, pass it through `answer`, and store it.

    A concurrent change is not undone: both changes are merged relative to their common base version. Raises Conflict
    when the base version is unknown, or when the result keeps changing.
    """
    server, wanted = call.callback_info.url, call.input
    read_info = cache(lambda: client.slide_info(call.slide_id))
    base: dict[str, Any] | None = None
    for failed in range(CONFLICT_ROUNDS):
        if failed > 1:  # the first conflict may be a coincidence, so no wait
            client.wait(failed - 1)
        newest = client.result(app.id, wanted.id)
        if str(newest.version_id) == str(wanted.version_id):
            base = newest.answer
            versions.save(server, app.id, base)
        base = base or versions.find(server, app.id, wanted.id, wanted.version_id)
        if base is None or not can_merge(base, newest.answer):
            raise Conflict(CHANGED_MEANWHILE)
        whole = three_way_merge(base, call.sent, newest.answer) | {"id": newest.id, "versionId": newest.version_id}
        changed, quality = answer(app, _record(whole), read_info)
        body = overlay_our_fields(whole, changed.to_wire()) | {"id": newest.id, "versionId": newest.version_id}
        try:
            stored = client.replace_result(app.id, newest.id, body)
        except Conflict:
            continue
        if quality is not None:
            set_quality(client, app, *quality)
        return stored
    raise Conflict(f"Somebody else keeps changing result {wanted.id}.")


def _record(result: dict[str, Any]) -> StoredResult:
    try:
        return StoredResult.model_validate(result)
    except ValidationError as error:
        raise Malformed(f"The stored result can't be changed: {first_fault(error)}.") from error
