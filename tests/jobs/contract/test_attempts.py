"""How an attempt ends: done, again, parked, given back; and what a claim may do that was lost."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from slidehook.errors import ClaimLost
from slidehook.jobs.contract import Claim
from slidehook.jobs.job import ENDED, AttemptEnded, JobState
from tests.jobs.contract.backends import Backend
from tests.jobs.contract.steps import claimed, drain, put
from tests.jobs.making import DAY_S, make_job

AT_ONCE_S = 60.0
"""Longer than a busy machine takes, and much shorter than what would have been waited for."""
USES: dict[str, Callable[[Claim], None]] = {
    "check": lambda claim: claim.check(),
    "note": lambda claim: claim.note({"id": "late", "version_id": 9}),
    "retry": lambda claim: claim.retry("late", 0),
    "park": lambda claim: claim.park("late"),
    "give_back": lambda claim: claim.give_back(),
    "finish": lambda claim: claim.finish(JobState.DONE, "late"),
}
GIVING_UP: dict[str, Callable[[Claim], None]] = {
    "retry": lambda claim: claim.retry("later", 60),
    "park": lambda claim: claim.park("no access"),
    "give_back": lambda claim: claim.give_back(),
    "finish": lambda claim: claim.finish(JobState.FAILED, "no tissue"),
}


@pytest.mark.parametrize("outcome", sorted(ENDED))
def test_a_finished_job_rests_in_its_outcome(backend: Backend, outcome: JobState) -> None:
    put(backend.sink(), "a")
    source = backend.source()
    claim = claimed(source)

    claim.finish(outcome, "because", 1.5)

    summary, record = backend.admin().show(claim.job.id)
    assert summary.state is outcome
    assert summary.claimer is None
    assert record.ended
    assert record.events[-1].model_dump(exclude={"at"}) == {
        "event": "ended", "attempt": 1, "outcome": outcome, "reason": "because", "seconds": 1.5,
    }  # fmt: skip
    assert source.claim() is None
    assert source.unfinished() == 0


@pytest.mark.parametrize("state", sorted(set(JobState) - ENDED))
def test_only_an_outcome_ends_a_job(backend: Backend, state: JobState) -> None:
    put(backend.sink(), "a")
    claim = claimed(backend.source())

    with pytest.raises(ValueError, match="can't end"):
        claim.finish(state)
    claim.check()


def test_a_retried_job_is_not_claimable_before_its_time(backend: Backend) -> None:
    put(backend.sink(), "a")
    source = backend.source()

    claimed(source).retry("DPAT is away", 30)

    backend.clock.move(29.9)
    assert source.claim() is None
    backend.clock.move(0.2)
    claim = claimed(source)
    assert (claim.attempt, claim.last_reason) == (2, "DPAT is away")


def test_a_retry_without_delay_is_claimable_at_once(backend: Backend) -> None:
    put(backend.sink(), "a")
    source = backend.source()

    claimed(source).retry("again", 0)

    assert claimed(source).attempt == 2


def test_retried_jobs_are_exhausted_after_their_attempts(backend: Backend) -> None:
    put(backend.sink(), "a")
    source = backend.source(max_attempts=2)
    claims = []
    for _ in range(3):
        claims.append(claimed(source))
        claims[-1].retry("again", 0)

    assert [each.exhausted for each in claims] == [False, False, True]


def test_a_retry_that_does_not_count_waits_and_keeps_its_attempt(backend: Backend) -> None:
    put(backend.sink(), "a")
    source = backend.source(max_attempts=1)
    for _ in range(3):
        claim = claimed(source)
        assert (claim.attempt, claim.exhausted) == (1, False)
        claim.retry("the disk is full", 30, counted=False)
        backend.clock.move(29.9)
        assert source.claim() is None
        backend.clock.move(0.2)

    assert claimed(source).last_reason == "the disk is full"


def test_a_job_given_back_is_claimable_at_once_and_the_attempt_does_not_count(backend: Backend) -> None:
    put(backend.sink(), "a")
    for _ in range(5):
        claim = claimed(backend.source())
        assert (claim.attempt, claim.exhausted) == (1, False)
        claim.give_back()

    assert claimed(backend.source()).attempt == 1


def test_a_job_given_back_keeps_its_place_in_the_order(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    put(sink, "a")
    claim = claimed(source)
    put(sink, "b")
    claim.give_back()

    assert drain(source) == ["a", "b"]


def test_a_parked_job_sleeps_until_the_same_work_is_asked_for(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    put(sink, "a")
    claimed(source).park("no access")
    backend.clock.move(400 * DAY_S)
    assert source.claim() is None
    assert source.unfinished() == 0

    assert sink.hold(make_job("a", token="token-2")).coalesced

    claim = claimed(source)
    assert (claim.attempt, claim.last_reason, claim.secret()) == (1, "no access", "token-2")
    assert source.claim() is None


def test_a_request_for_other_work_does_not_wake_a_parked_job(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    put(sink, "a")
    claimed(source).park("no access")

    put(sink, "b")

    assert drain(source) == ["b"]


def test_a_request_does_not_shorten_the_wait_of_a_retry(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    put(sink, "a")
    claimed(source).retry("DPAT is away", 60)

    sink.hold(make_job("a"))

    assert source.claim() is None
    assert source.unfinished() == 1


def test_a_token_that_came_while_the_job_was_being_parked_wakes_it(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    put(sink, "a")
    claim = claimed(source)
    assert claim.secret() == "token-1"
    sink.hold(make_job("a", token="token-2"))  # nobody is told of this any more: the worker has looked already

    claim.park("no access")

    woken = claimed(source)
    assert (woken.attempt, woken.secret()) == (1, "token-2")


def test_a_token_that_was_tried_in_vain_lets_the_job_sleep(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    put(sink, "a")
    sink.hold(make_job("a", token="token-2"))
    claim = claimed(source)
    assert claim.secret() == "token-2"

    claim.park("no access")

    assert source.claim() is None


def test_unfinished_counts_what_still_goes_on_by_itself(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    put(sink, "done", "parked", "later", "active", "waiting")
    sink.hold(make_job("held"))
    claimed(source).finish(JobState.DONE)
    claimed(source).park("no access")
    claimed(source).retry("later", 60)
    claimed(source)

    assert source.unfinished() == 4


@pytest.mark.parametrize("use", USES)
def test_a_claim_that_another_worker_took_over_changes_nothing(backend: Backend, use: str) -> None:
    put(backend.sink(), "a")
    dead = backend.source()
    stale = claimed(dead)
    backend.crash(dead)
    claim = claimed(backend.source())
    before = backend.admin().show(claim.job.id)

    with pytest.raises(ClaimLost):
        USES[use](stale)

    assert backend.admin().show(claim.job.id) == before
    claim.check()
    claim.finish(JobState.DONE)


@pytest.mark.parametrize("use", USES)
def test_a_claim_whose_job_another_worker_ended_changes_nothing(backend: Backend, use: str) -> None:
    put(backend.sink(), "a")
    dead = backend.source()
    stale = claimed(dead)
    backend.crash(dead)
    claim = claimed(backend.source())
    claim.finish(JobState.FAILED, "no tissue")
    before = backend.admin().show(claim.job.id)

    with pytest.raises(ClaimLost):
        USES[use](stale)

    assert backend.admin().show(claim.job.id) == before


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("end", GIVING_UP)
def test_a_claim_is_lost_with_the_attempts_end(backend: Backend, end: str, use: str) -> None:
    put(backend.sink(), "a")
    claim = claimed(backend.source())
    GIVING_UP[end](claim)
    before = backend.admin().show(claim.job.id)

    with pytest.raises(ClaimLost):
        USES[use](claim)

    assert backend.admin().show(claim.job.id) == before


@pytest.mark.parametrize("use", USES)
def test_an_earlier_claim_of_the_same_worker_is_lost_too(backend: Backend, use: str) -> None:
    put(backend.sink(), "a")
    source = backend.source()
    stale = claimed(source)
    stale.retry("again", 0)
    claim = claimed(source)
    before = backend.admin().show(claim.job.id)

    with pytest.raises(ClaimLost):
        USES[use](stale)

    assert backend.admin().show(claim.job.id) == before
    claim.check()


def test_every_attempt_is_on_record(backend: Backend) -> None:
    put(backend.sink(), "a")
    source = backend.source()
    claimed(source).retry("first", 0)
    claimed(source).give_back()
    claimed(source).retry("second", 0)
    claim = claimed(source)

    reasons = [(each.attempt, each.reason) for each in claim.record.events if isinstance(each, AttemptEnded)]
    assert reasons == [(1, "first"), (2, "the worker left"), (2, "second")]
    assert claim.attempt == 3


def test_waiting_returns_at_once_when_a_job_was_put_since_the_last_claim(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    assert source.claim() is None
    put(sink, "a")

    began = time.monotonic()

    source.wait(200)

    assert time.monotonic() - began < AT_ONCE_S
    assert drain(source) == ["a"]


@pytest.mark.parametrize("left_s", [0.0, 0.0003, 0.02])
def test_waiting_ends_when_a_sleeping_job_is_about_to_wake(backend: Backend, left_s: float) -> None:
    put(backend.sink(), "a")
    source = backend.source()
    claimed(source).retry("again", 30)
    assert source.claim() is None
    backend.clock.move(30 - left_s)
    began = time.monotonic()

    source.wait(200)

    assert time.monotonic() - began < AT_ONCE_S


def test_waiting_without_work_lasts_no_longer_than_asked_for(backend: Backend) -> None:
    source = backend.source()
    assert source.claim() is None
    began = time.monotonic()

    source.wait(0.02)

    assert time.monotonic() - began < AT_ONCE_S
