"""Where results go."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from slidehook import PixelPoint, Result
from slidehook.errors import (
    AccessExpired,
    AppError,
    ClaimLost,
    Refused,
    ResultDeleted,
    SlidehookError,
    SystemUnavailable,
)
from slidehook.geometry import Frame
from slidehook.result import Quality
from slidehook.systems import Access, Cancelled, Done, Ending, Failed, OneSecret
from tests.systems.contract.backends import AJob, Backend, destination, origin

FRAME = Frame(2000, 1500)
CORNERS = [PixelPoint(0, 0), PixelPoint(100, 0), PixelPoint(100, 100)]


def done(text: str = "12 %") -> Done:
    return Done(Result(text, {"Cells": 5}).polygon(CORNERS), FRAME, mpp=0.25)


def test_a_job_has_one_result_from_its_first_progress_to_its_end(backend: Backend, job: AJob) -> None:
    place = destination(backend, job)
    for percent in (0, 50):
        place.progress(percent, "analysing")
        assert backend.now(job) == [f"{percent} %"]
    place.end(done())
    assert backend.now(job) == ["12 %"]
    assert place.shown() == "12 %"


@pytest.mark.parametrize(
    ("ending", "shows"), [(Failed("no tissue"), "failed: no tissue"), (Cancelled(), "cancelled")]
)
def test_an_end_without_a_result_says_so(backend: Backend, job: AJob, ending: Ending, shows: str) -> None:
    place = destination(backend, job)
    place.progress(5, "analysing")
    place.end(ending)
    assert backend.now(job) == [shows]
    assert place.shown() is None


def test_a_result_may_come_without_any_progress(backend: Backend, job: AJob) -> None:
    place = destination(backend, job)
    assert place.shown() is None
    place.end(done())
    assert backend.now(job) == ["12 %"]


def test_progress_is_no_result(backend: Backend, job: AJob) -> None:
    place = destination(backend, job)
    place.progress(5, "analysing")
    assert place.shown() is None


def test_what_is_noted_leads_a_later_attempt_to_the_same_result(remote: Backend, job: AJob) -> None:
    place = destination(remote, job)
    noted = place.progress(5, "analysing")
    assert noted is not None
    assert place.progress(6, "analysing") is None
    later = remote.destination(job, Access(OneSecret(remote.secret())))
    later.resume(noted, 0.0)
    assert later.end(done()) is None
    assert remote.now(job) == ["12 %"]


def test_a_result_that_was_stored_without_an_answer_is_found_again(remote: Backend, job: AJob) -> None:
    remote.fail(SystemUnavailable, after=True)
    place = destination(remote, job)
    try:
        place.progress(5, "analysing")
    except SystemUnavailable:
        assert remote.now(job) == ["5 %"]
    later = destination(remote, job)
    later.progress(7, "analysing")
    assert remote.now(job) == ["7 %"]


def test_another_attempt_reads_what_stands_there(backend: Backend, job: AJob) -> None:
    noted = destination(backend, job).end(done())
    later = backend.destination(job, Access(OneSecret(backend.secret())))
    later.resume(noted, 0.0)
    assert later.shown() == "12 %"


def test_a_cancel_leaves_what_has_ended(backend: Backend, job: AJob) -> None:
    noted = destination(backend, job).end(done())
    later = backend.destination(job, Access(OneSecret(backend.secret())))
    later.resume(noted, 0.0)
    later.end(Cancelled())
    assert backend.now(job) == ["12 %"]
    assert later.shown() == "12 %"


def test_a_cancel_creates_nothing_where_nothing_is_shown(remote: Backend, job: AJob) -> None:
    place = destination(remote, job)
    place.end(Cancelled())
    assert remote.now(job) == []
    assert place.shown() is None


def test_a_result_that_its_user_deleted_is_not_created_again(remote: Backend, job: AJob) -> None:
    place = destination(remote, job)
    place.progress(5, "analysing")
    remote.delete(job)
    with pytest.raises(ResultDeleted):
        place.progress(6, "analysing")
    for ending in (done(), Failed("no tissue")):
        with pytest.raises(ResultDeleted):
            place.end(ending)
    place.end(Cancelled())
    assert remote.now(job) == []


def test_it_goes_on_after_an_abandoned_call(backend: Backend, job: AJob) -> None:
    place = destination(backend, job)
    place.progress(5, "analysing")
    place = place.continued()
    place.progress(6, "analysing")
    place.end(done())
    assert backend.now(job) == ["12 %"]


def test_a_result_that_can_not_be_shown_is_the_apps_fault(backend: Backend, job: AJob) -> None:
    place = destination(backend, job)
    place.progress(5, "analysing")
    nowhere = [replace(each, x=math.nan) for each in CORNERS]
    with pytest.raises(AppError):
        place.end(Done(Result("12 %").polygon(nowhere), FRAME))
    assert backend.now(job) == ["5 %"]
    place.end(Failed("its coordinates are no numbers"))
    assert place.shown() is None


@pytest.mark.parametrize("kind", [SystemUnavailable, AccessExpired, Refused])
def test_a_fault_is_told_as_what_it_is_and_changes_nothing(
    remote: Backend, job: AJob, kind: type[SlidehookError]
) -> None:
    place = destination(remote, job)
    place.progress(5, "analysing")
    remote.fail(kind)
    with pytest.raises(kind):
        place.end(Failed("no tissue"))
    assert remote.now(job) == ["5 %"]


def test_nothing_is_shown_unless_the_check_lets_it(backend: Backend, job: AJob) -> None:
    def check() -> None:
        raise ClaimLost("another worker's")

    place = destination(backend, job, check)
    before = backend.calls()
    with pytest.raises(ClaimLost):
        place.progress(5, "analysing")
    with pytest.raises(ClaimLost):
        place.end(done())
    assert backend.calls() == before


def test_what_follows_a_result_takes_nothing_from_it(backend: Backend, job: AJob) -> None:
    place = destination(backend, job)
    place.describe(origin(backend).info())
    result = done()
    result.result.quality = Quality.OK
    place.end(result)
    place.follow_up(result)
    assert backend.now(job) == ["12 %"]
