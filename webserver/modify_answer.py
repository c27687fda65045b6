"""Answers a user's change of a result with the app's `on_modify`. If that fails, the change is still stored."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from slidehook.app import App
from slidehook.dpat.changes import apply_answer, failed_change, is_notice, result_of
from slidehook.dpat.iaapi.models import ImageInfo, StoredResult
from slidehook.dpat.records import check_size
from slidehook.dpat.stored_result import frame_of
from slidehook.errors import SlidehookError
from slidehook.registry.fingerprint import fingerprint
from slidehook.result import Quality
from slidehook.results.budget import within_limits
from slidehook.results.receipt import FINGERPRINT
from slidehook.results.sanitize import in_words
from webserver.on_modify_process import OnModifyCaller

MODIFY_S = 10.0
"""The time limit of an app's `on_modify`, in seconds: DPAT waits, and storing the answer takes more time."""
_CHANGED_BY = ", changed by "
log = structlog.get_logger()


def answer_change(
    on_modify_caller: OnModifyCaller, app: App, record: StoredResult, read_info: Callable[[], ImageInfo]
) -> tuple[StoredResult, tuple[ImageInfo, Quality] | None]:
    """Return the result to store for a user's change, and the slide's record and quality if the app sets a quality.

    `read_info` reads the slide's record. It is called at most once, and only for an app with its own `on_modify`.
    Raises BadRequest when the user's result is invalid, and the errors of `read_info`.
    """
    if type(app).on_modify is App.on_modify or is_notice(record):
        return record.with_buttons_released(), None
    info = read_info()
    frame = frame_of(info)
    if frame is None:
        return failed_change(record, "DPAT does not state the slide's size"), None
    changed_result = result_of(record, frame)
    try:
        answer = within_limits(app, on_modify_caller.ask(app, changed_result, within_s=MODIFY_S))
        stored = _with_fingerprint(app, apply_answer(record, answer, frame, application_version=app.version))
        check_size(app, stored)
    except SlidehookError as error:
        log.warning("on_modify failed", app=app.id, reason=in_words(error))
        return failed_change(record, in_words(error)), None
    return stored, None if answer.quality is None else (info, answer.quality)


def _with_fingerprint(app: App, stored: StoredResult) -> StoredResult:
    """Append the app's fingerprint to that of the analysis if the app's code has changed since the analysis."""
    recorded = stored.display_properties.get(FINGERPRINT)
    if not isinstance(recorded, str):
        return stored
    analysis = recorded.partition(_CHANGED_BY)[0]
    current = fingerprint(app)
    row = analysis if analysis.partition(" ")[0] == current else f"{analysis}{_CHANGED_BY}{current}"
    return stored.model_copy(update={"display_properties": stored.display_properties | {FINGERPRINT: row}})
