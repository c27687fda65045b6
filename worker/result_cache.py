"""What an analysis has found, kept on this host until DPAT has it: storing it may take a second attempt."""

from __future__ import annotations

import contextlib

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from slidehook.app import App
from slidehook.dpat.iaapi.models import ResultRecord
from slidehook.errors import CannotStore
from slidehook.result import Quality
from worker.workspace import Workspace

NAME = "result.json"

log = structlog.get_logger()


class CachedResult(BaseModel):
    """The result as it goes to DPAT, the quality of the slide where the app says it, and the app's fingerprint."""

    model_config = ConfigDict(frozen=True)

    record: ResultRecord
    quality: Quality | None = None
    rests_on: str = ""


def keep(workspace: Workspace, job_id: str, finding: CachedResult) -> None:
    """Keep what was found; on a disk that takes no file, the result is stored at DPAT all the same."""
    try:
        workspace.keep(job_id, NAME, finding.model_dump_json().encode())
    except CannotStore as error:
        log.warning("the result is not kept here", reason=str(error))


def kept(workspace: Workspace, job_id: str, app: App, rests_on: str) -> CachedResult | None:
    """Give what an earlier attempt found; None when it came to nothing, or the app is another one now.

    `rests_on`: the fingerprint of the app as it is now. Of changed code nothing is kept.
    """
    content = workspace.kept(job_id, NAME)
    if content is None:
        return None
    with contextlib.suppress(ValidationError):
        finding = CachedResult.model_validate_json(content)
        if finding.record.application_version == app.version and finding.rests_on == rests_on:
            return finding
    return None


def forget(workspace: Workspace, job_id: str) -> None:
    """Forget what was found: should the job run once more, it is analysed anew."""
    workspace.drop(job_id, NAME)
