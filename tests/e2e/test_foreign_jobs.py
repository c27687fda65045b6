"""A job file that nobody foresaw ends no worker, and its attempts are counted."""

from __future__ import annotations

from collections.abc import Callable

from slidehook.jobs.job import JobState
from tests.e2e.conftest import Dpat, Site
from tests.e2e.running import wait_for

WITHIN_S = 90.0


def test_jobs_of_another_app_or_to_an_address_that_is_none_end_no_worker(
    new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site()
    site.start_web()
    dpat = new_dpat(site)
    other_app, no_address, good = (dpat.add_slide() for _ in range(3))
    for each in (other_app, no_address, good):
        dpat.create(each)
    # A user's jobs run in the order of their age.
    path = site.job_in(JobState.WAITING, other_app).path
    path.write_bytes(path.read_bytes().replace(b'"app_id":"wholeslide"', b'"app_id":"unknown-app"'))
    path = site.job_in(JobState.WAITING, no_address).path
    path.write_bytes(path.read_bytes().replace(b'"address":"http', b'"address":"ftp://[nowhere'))
    worker = site.start_worker()
    assert dpat.final(good, within_s=WITHIN_S)["displayResult"] == "ANSWER: 42"
    failed = site.job_in(JobState.FAILED, no_address)
    assert failed.record.events[-1].model_dump()["reason"]
    assert [each.name for each in (site.queue / "damaged").iterdir()]
    assert "the file is of job" in worker.text()
    assert "for the app unknown-app" in worker.text()
    assert worker.process.poll() is None
    wait_for(lambda: not list((site.queue / "active").iterdir()), "nothing is left at work")
