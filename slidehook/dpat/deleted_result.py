"""A stored result that its user deleted, and the jobs that work on it."""

from __future__ import annotations

from dataclasses import dataclass

from slidehook.dpat.noted_result import NotedResult
from slidehook.jobs.job import FIRST_SYSTEM, JobRecord, work_key


@dataclass(frozen=True)
class DeletedResult:
    """A stored result that its user deleted.

    `whole_slide`: the app asks for no region, so a slide has at most one job. `shown_by`: the id of the job that the
    result's mark names.
    """

    callback_url: str
    app_id: str
    slide_id: str
    result_id: int | str
    whole_slide: bool
    shown_by: str | None = None

    @property
    def work_key(self) -> str | None:
        """The key of the one work that can be concerned; None when several works can be."""
        return work_key(FIRST_SYSTEM, self.callback_url, self.app_id, self.slide_id) if self.whole_slide else None

    def concerns(self, record: JobRecord) -> bool:
        """Whether a job works on this result."""
        job, noted = record.job, NotedResult.read(record.noted)
        mine = (FIRST_SYSTEM, self.callback_url, self.app_id, self.slide_id)
        if (job.system, job.address, job.app_id, job.slide_id) != mine:
            return False
        return job.id == self.shown_by or (noted is not None and str(noted.id) == str(self.result_id))
