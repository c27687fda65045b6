"""Stopping the jobs on a result that its user deleted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from slidehook.dpat.deleted_result import DeletedResult
from slidehook.jobs.job import Job, JobState
from slidehook.models import Input, MultiAreaInput
from tests.jobs.contract.backends import Backend
from tests.jobs.contract.steps import claimed
from tests.jobs.making import make_job
from tests.stopping import stop_deleted

KEY = "ab" * 20


def area(x: float) -> Input:
    """Return a region to analyse, another one for each `x`."""
    points = [{"x": x, "y": 0.1}, {"x": x + 0.1, "y": 0.1}, {"x": x, "y": 0.2}]
    return MultiAreaInput.model_validate({"type": "multiArea", "content": {"polygons": [{"points": points}]}})


def deleted(job: Job, result_id: int | str = 17, *, whole_slide: bool = True) -> DeletedResult:
    return DeletedResult(job.address, job.app_id, job.slide_id, result_id, whole_slide, shown_by=job.id)


def state_of(backend: Backend, job: Job) -> JobState:
    return backend.admin().show(job.id)[0].state


@pytest.mark.parametrize("noted", [True, False])
def test_a_waiting_job_ends_at_once(backend: Backend, *, noted: bool) -> None:
    sink = backend.sink()
    hold = sink.hold(make_job("a"))
    if noted:
        hold.note({"id": 17, "version_id": 1})
    hold.release()

    assert stop_deleted(sink, deleted(hold.job)) == [hold.job.id]

    assert state_of(backend, hold.job) is JobState.CANCELLED
    assert backend.source().claim() is None


def test_a_job_that_has_shown_nothing_yet_is_not_at_work_on_an_older_result(backend: Backend) -> None:
    sink = backend.sink()
    hold = sink.hold(make_job("a"))
    hold.release()

    assert stop_deleted(sink, replace(deleted(hold.job), shown_by=None)) == []

    assert not claimed(backend.source()).unwanted()


def test_a_parked_job_ends_at_once(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    hold = sink.hold(make_job("a"))
    hold.release()
    claimed(source).park("no access")

    assert stop_deleted(sink, deleted(hold.job)) == [hold.job.id]

    assert state_of(backend, hold.job) is JobState.CANCELLED


def test_a_running_jobs_worker_learns_of_it(backend: Backend) -> None:
    sink = backend.sink()
    sink.hold(make_job("a")).release()
    claim = claimed(backend.source())
    assert not claim.unwanted()

    assert stop_deleted(sink, deleted(claim.job)) == [claim.job.id]

    assert claim.unwanted()
    assert not claim.cancel_wanted()


def test_who_takes_a_dead_workers_job_over_learns_of_it(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    sink.hold(make_job("a")).release()
    claim = claimed(source)
    backend.crash(source)

    stop_deleted(sink, deleted(claim.job))

    assert claimed(backend.source()).unwanted()


def test_who_asks_for_the_work_again_starts_a_job_of_its_own(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    sink.hold(make_job("a")).release()
    first = claimed(source)
    stop_deleted(sink, deleted(first.job))

    assert sink.peek(first.job) is None
    again = sink.hold(make_job("a"))
    assert not again.coalesced
    again.release()

    first.finish(JobState.CANCELLED)
    assert claimed(source).job.id == again.job.id
    assert sink.hold(make_job("a")).job.id == again.job.id


@pytest.mark.parametrize(
    "changes", [{"app_id": "other"}, {"slide_id": "other"}, {"callback_url": "https://other"}, {"result_id": 18}]
)
def test_jobs_on_other_results_go_on(backend: Backend, changes: dict[str, Any]) -> None:
    sink = backend.sink()
    hold = sink.hold(make_job("a"))
    hold.note({"id": 17, "version_id": 1})
    hold.release()
    asked = replace(deleted(hold.job), shown_by=None, **changes)

    assert stop_deleted(sink, asked) == []

    assert not claimed(backend.source()).unwanted()


@pytest.mark.parametrize("running", [False, True])
def test_of_several_regions_only_the_one_with_that_result_is_stopped(backend: Backend, *, running: bool) -> None:
    sink, source = backend.sink(), backend.source()
    holds = [sink.hold(make_job("a/ä", work=area(number / 10))) for number in range(3)]
    for number, hold in enumerate(holds[:2]):
        hold.note({"id": 17 + number, "version_id": 1})
    for hold in holds:
        hold.release()
    claims = [claimed(source) for _ in holds] if running else []

    assert stop_deleted(sink, replace(deleted(holds[0].job, "17", whole_slide=False), shown_by=None)) == [
        holds[0].job.id
    ]

    if running:
        assert [each.unwanted() for each in claims] == [True, False, False]
    else:
        assert [state_of(backend, each.job) for each in holds][1:] == [JobState.WAITING] * 2


@pytest.mark.parametrize("whole_slide", [True, False])
def test_a_result_that_nobody_works_on_any_more_stops_nothing(backend: Backend, *, whole_slide: bool) -> None:
    sink = backend.sink()
    sink.hold(make_job("a")).release()
    claim = claimed(backend.source())
    claim.note({"id": 17, "version_id": 1})
    claim.finish(JobState.DONE)

    assert stop_deleted(sink, deleted(claim.job, whole_slide=whole_slide)) == []

    assert state_of(backend, claim.job) is JobState.DONE
