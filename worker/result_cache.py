"""The result of an analysis, kept on this host until it has been stored: that may take a second attempt."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import structlog
from pydantic import TypeAdapter, ValidationError

from slidehook.app import App
from slidehook.errors import CannotStore
from slidehook.systems import Done
from worker.workspace import Workspace

NAME = "result.json"

log = structlog.get_logger()


@dataclass(frozen=True)
class CachedResult:
    """A result that is to be stored, and the version and fingerprint of the app that it was found with."""

    done: Done
    app_version: str
    rests_on: str


_CACHED = TypeAdapter(CachedResult)


def keep(workspace: Workspace, job_id: str, cached: CachedResult) -> None:
    """Keep a result; where the disk is full it is only logged, because the result can be stored all the same."""
    try:
        workspace.keep(job_id, NAME, _CACHED.dump_json(cached, warnings=False))
    except CannotStore as error:
        log.warning("the result is not kept here", reason=str(error))


def kept(workspace: Workspace, job_id: str, app: App, rests_on: str) -> Done | None:
    """Return the result of an earlier attempt; None when there is none, or the app has changed since.

    `rests_on`: the fingerprint of the app as it is now.
    """
    content = workspace.kept(job_id, NAME)
    if content is None:
        return None
    with contextlib.suppress(ValidationError):
        cached = _CACHED.validate_json(content)
        if (cached.app_version, cached.rests_on) == (app.version, rests_on):
            return cached.done
    return None


def forget(workspace: Workspace, job_id: str) -> None:
    """Remove a job's result: the job has ended, or is to be analysed anew."""
    workspace.drop(job_id, NAME)
