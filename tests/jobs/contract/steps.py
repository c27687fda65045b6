"""What most tests of the contract do."""

from __future__ import annotations

from slidehook.jobs.contract import Claim, JobSink, JobSource
from tests.jobs.making import make_job


def put(sink: JobSink, *names: str, priority: int = 5) -> list[str]:
    """Put a job for each slide; returns their ids."""
    ids = []
    for name in names:
        hold = sink.hold(make_job(name, priority=priority))
        hold.release()
        ids.append(hold.job.id)
    return ids


def claimed(source: JobSource) -> Claim:
    """Claim the job that must be there."""
    claim = source.claim()
    assert claim is not None
    return claim


def drain(source: JobSource) -> list[str]:
    """Claim all there is; returns the slides in order."""
    slides = []
    while (claim := source.claim()) is not None:
        slides.append(claim.job.slide_id)
    return slides
