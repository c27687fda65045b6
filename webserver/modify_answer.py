"""Answers a user's change to a result with what the app makes of it; an author's fault costs nobody their change."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from slidehook.app import App
from slidehook.dpat.changes import changed, failed_change, is_notice, result_of
from slidehook.dpat.iaapi.models import ImageInfo, StoredResult
from slidehook.dpat.stored_result import frame_of
from slidehook.errors import SlidehookError
from slidehook.registry.fingerprint import fingerprint
from slidehook.result import Quality
from slidehook.results.budget import check_size, within_limits
from slidehook.results.receipt import FINGERPRINT
from slidehook.results.sanitize import in_words
from webserver.app_process import Asker

MODIFY_S = 10.0
"""How long an app may take to answer a user's change, in seconds: DPAT waits, and the answer has yet to be stored."""
_CHANGED_BY = ", changed by "
log = structlog.get_logger()


def answered(
    asker: Asker, app: App, record: StoredResult, read_info: Callable[[], ImageInfo]
) -> tuple[StoredResult, tuple[ImageInfo, Quality] | None]:
    """Give what is to be stored of a user's change, and the quality that the slide is to have, if the app says one.

    `read_info` reads the slide's record, which comes with that quality; it is called only for an app that answers
    changes, and only once. Raises BadRequest when the user's result makes no sense, and what `read_info` raises.
    """
    if type(app).on_modify is App.on_modify or is_notice(record):
        return record.with_buttons_released(), None
    info = read_info()
    frame = frame_of(info)
    if frame is None:
        return failed_change(record, "DPAT does not tell the slide's size"), None
    asked = result_of(record, frame)
    try:
        answer = within_limits(app, asker.ask(app, asked, within_s=MODIFY_S))
        stored = _saying_which_code(app, changed(record, answer, frame, application_version=app.version))
        check_size(app, stored)
    except SlidehookError as error:
        log.warning("on_modify failed", app=app.id, reason=in_words(error))
        return failed_change(record, in_words(error)), None
    return stored, None if answer.quality is None else (info, answer.quality)


def _saying_which_code(app: App, stored: StoredResult) -> StoredResult:
    """Add the app's fingerprint to that of the analysis, where another code than that has made the numbers."""
    told = stored.display_properties.get(FINGERPRINT)
    if not isinstance(told, str):
        return stored
    analysis = told.partition(_CHANGED_BY)[0]
    now = fingerprint(app)
    row = analysis if analysis.partition(" ")[0] == now else f"{analysis}{_CHANGED_BY}{now}"
    return stored.model_copy(update={"display_properties": stored.display_properties | {FINGERPRINT: row}})
