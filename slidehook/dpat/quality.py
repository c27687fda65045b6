"""Sets a slide's quality control in DPAT for an app. A failure never affects the result."""

from __future__ import annotations

import structlog

from slidehook.app import App
from slidehook.dpat.errors import Conflict, DpatError, UnsupportedByDpat
from slidehook.dpat.iaapi.client import DpatClient
from slidehook.errors import AccessExpired
from slidehook.models import ImageInfo
from slidehook.result import Quality

log = structlog.get_logger()


def set_quality(client: DpatClient, app: App, info: ImageInfo, quality: Quality) -> None:
    """Set the slide's quality control (IA-API 1.10); DPAT's errors and an expired access are logged and never raised.

    `info` is the slide's record. If somebody else has set another status since it was read, that status is kept.
    """
    try:
        _set(client, app, info, quality)
    except UnsupportedByDpat as error:
        log.info("quality control skipped", app=app.id, reason=str(error))
    except (DpatError, AccessExpired) as error:
        log.warning("quality control not set", app=app.id, reason=str(error))
    else:
        log.info("quality control set", app=app.id, status=quality.value)


def _set(client: DpatClient, app: App, info: ImageInfo, quality: Quality) -> None:
    status, version_id = _current(info)
    try:
        client.set_quality(info.id, quality.value, version_id=version_id, application_version=app.version)
    except Conflict as conflict:
        now, version_id = _current(client.slide_info(info.id))
        if now != status:
            raise Conflict(f"somebody has set it to {now} meanwhile") from conflict
        client.set_quality(info.id, quality.value, version_id=version_id, application_version=app.version)


def _current(info: ImageInfo) -> tuple[str | None, str | int]:
    """Return the status and its version from a slide's record."""
    control = info.quality_control
    if control is None or control.version_id is None:
        raise UnsupportedByDpat("DPAT has no quality control for this slide")
    return control.status, control.version_id
