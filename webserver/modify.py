"""Stores what a user changed of a result, as the app answers it, on the version that is the newest by then."""

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
from slidehook.dpat.merging import laid_over, merged, same_kind
from slidehook.dpat.quality import set_quality
from slidehook.result import Quality
from webserver.result_versions import Versions

CHANGED = "The result was changed by somebody else; look at it again, then change it."
Answered = tuple[StoredResult, tuple[ImageInfo, Quality] | None]
Answer = Callable[[App, StoredResult, Callable[[], ImageInfo]], Answered]


def change(app: App, client: DpatClient, call: Modify, versions: Versions, answer: Answer) -> Stored:
    """Put a user's change on the newest version of the result, have the app answer it by `answer`, and store that.

    Whoever is faster is not undone: what both started from is compared with what each made of it. Raises Conflict
    when that version is not known any more, or the result changes again and again.
    """
    server, wanted = call.callback_info.url, call.input
    read_info = cache(lambda: client.slide_info(call.slide_id))
    base: dict[str, Any] | None = None
    for failed in range(CONFLICT_ROUNDS):
        if failed > 1:  # the first conflict is with somebody who was faster by chance
            client.wait(failed - 1)
        newest = client.result(app.id, wanted.id)
        if str(newest.version_id) == str(wanted.version_id):
            base = newest.answer
            versions.keep(server, app.id, base)
        base = base or versions.find(server, app.id, wanted.id, wanted.version_id)
        if base is None or not same_kind(base, newest.answer):
            raise Conflict(CHANGED)
        whole = merged(base, call.sent, newest.answer) | {"id": newest.id, "versionId": newest.version_id}
        changed, quality = answer(app, _record(whole), read_info)
        body = laid_over(whole, changed.to_wire()) | {"id": newest.id, "versionId": newest.version_id}
        try:
            stored = client.replace_result(app.id, newest.id, body)
        except Conflict:
            continue
        if quality is not None:
            set_quality(client, app, *quality)
        return stored
    raise Conflict(f"Result {wanted.id} is changed by somebody else again and again.")


def _record(result: dict[str, Any]) -> StoredResult:
    try:
        return StoredResult.model_validate(result)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise Malformed(f"The stored result can't be changed: {where}: {fault['msg']}.") from error
