"""Answers a user's change to a result with what the app makes of it; an author's fault costs nobody their change."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from slidehook.app import App
from slidehook.errors import AppError, SlidehookError
from slidehook.hosting.plain import in_words, plain
from slidehook.iaapi.models import ImageInfo, StoredResult
from slidehook.publishing.budget import within_budget
from slidehook.publishing.changes import changed, failed_change, is_notice, result_of
from slidehook.publishing.onslide import frame_of
from slidehook.result import Quality, Result

log = structlog.get_logger()


def answered(
    app: App, record: StoredResult, read_info: Callable[[], ImageInfo]
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
        answer = within_budget(_ask(app, asked), max_polygons=app.max_polygons, max_points=app.max_points)
        stored = changed(record, answer, frame, application_version=app.version)
    except SlidehookError as error:
        log.warning("on_modify failed", app=app.id, reason=in_words(error))
        return failed_change(record, in_words(error)), None
    return stored, None if answer.quality is None else (info, answer.quality)


def _ask(app: App, asked: Result) -> Result:
    """Ask the app; raises a SlidehookError whatever it raises."""
    try:
        answer = app.on_modify(asked)
    except SlidehookError:
        raise
    except (Exception, SystemExit) as error:
        # An app may raise anything: the slide gets one sentence, the log the traceback.
        log.exception("the app has a fault", app=app.id)
        raise AppError(f"the app has a fault: {type(error).__name__}: {in_words(error)}") from error
    if not isinstance(answer, Result):
        raise AppError(f"the app has a fault: on_modify gave {type(answer).__name__}, not a Result")
    return plain(answer)
