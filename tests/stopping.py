"""Stopping the jobs on a deleted result, as the webserver does."""

from __future__ import annotations

from slidehook.dpat.deleted_result import DeletedResult
from slidehook.jobs.contract import JobSink


def stop_deleted(sink: JobSink, deleted: DeletedResult) -> list[str]:
    """Stop the jobs on a deleted result; returns their ids."""
    app_id, slide_id = deleted.app_id, deleted.slide_id
    return sink.stop_unwanted(deleted.concerns, "deleted", app_id=app_id, slide_id=slide_id, key=deleted.work_key)
