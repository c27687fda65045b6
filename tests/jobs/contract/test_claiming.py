"""Order, exclusiveness, and what becomes of jobs whose process dies."""

from __future__ import annotations

from threading import Barrier, Thread

import pytest

from slidehook.errors import QueueError
from slidehook.jobs.contract import Hold, JobSource
from slidehook.jobs.job import AttemptEnded, Claimed, JobState, Noted
from slidehook.jobs.rules import DEATH_BACKOFF
from tests.jobs.contract.backends import Backend
from tests.jobs.contract.steps import claimed, drain, put
from tests.jobs.making import NS, make_job

LOOKS_MOST = 20
"""How often a worker looks again that lost every race; more means that jobs are hidden."""


def test_an_empty_queue_has_nothing_to_claim(backend: Backend) -> None:
    assert backend.source().claim() is None


def test_older_jobs_come_first(backend: Backend) -> None:
    put(backend.sink(), "a", "b", "c")

    assert drain(backend.source()) == ["a", "b", "c"]


def test_a_lower_priority_number_comes_first_however_young(backend: Backend) -> None:
    sink = backend.sink()
    put(sink, "usual", priority=5)
    put(sink, "later", priority=9)
    put(sink, "urgent", priority=0)

    assert drain(backend.source()) == ["urgent", "usual", "later"]


def test_age_counts_from_the_making_not_from_the_release(backend: Backend) -> None:
    sink = backend.sink()
    holds = [sink.hold(make_job(name)) for name in "abc"]
    for hold in reversed(holds):
        hold.release()

    assert drain(backend.source()) == ["a", "b", "c"]


def test_an_older_job_released_between_two_claims_comes_next(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    slow = sink.hold(make_job("slow"))
    put(sink, "b", "c", "d")

    assert claimed(source).job.slide_id == "b"
    slow.release()
    assert drain(source) == ["slow", "c", "d"]


def test_jobs_of_several_sinks_stand_in_one_order(backend: Backend) -> None:
    jobs = [make_job(name) for name in "abcd"]
    one, other = backend.sink(), backend.sink()
    for job, sink in zip(reversed(jobs), (one, other, one, other), strict=True):
        sink.hold(job).release()

    assert drain(backend.source()) == ["a", "b", "c", "d"]


def test_a_claimed_job_is_hidden_from_every_worker(backend: Backend) -> None:
    put(backend.sink(), "a")
    one, other = backend.source(), backend.source()

    assert claimed(one).job.slide_id == "a"
    assert other.claim() is None
    assert one.claim() is None


def test_a_claim_carries_the_job_as_it_was_put(backend: Backend) -> None:
    job = make_job("a", priority=2, cancellation_key="ab" * 20)
    backend.sink().hold(job).release()

    claim = claimed(backend.source())

    assert claim.job == job
    assert claim.record.job == job
    assert claim.record.events == []
    assert (claim.attempt, claim.exhausted, claim.last_reason) == (1, False, "")


def test_a_worker_leaves_the_jobs_of_apps_that_it_does_not_have(backend: Backend) -> None:
    sink = backend.sink()
    sink.hold(make_job("a", app_id="nuclei")).release()
    sink.hold(make_job("b", app_id="tissue")).release()

    assert drain(backend.source(apps=frozenset({"tissue"}))) == ["b"]
    assert drain(backend.source()) == ["a"]


def test_eight_workers_racing_claim_every_job_once(backend: Backend) -> None:
    jobs, workers = 200, 8
    sink = backend.sink()
    expected = sorted(put(sink, *(f"S-{number}" for number in range(jobs))))
    start = Barrier(workers)
    won: list[list[str]] = [[] for _ in range(workers)]

    def work(source: JobSource, mine: list[str]) -> None:
        start.wait()
        misses = 0
        while misses < LOOKS_MOST:
            claim = source.claim()
            if claim is None:
                misses += 1
            else:
                mine.append(claim.job.id)

    threads = [Thread(target=work, args=(backend.source(), mine)) for mine in won]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(each for mine in won for each in mine) == expected


# --- holding


def test_a_held_job_is_hidden_until_it_is_released(backend: Backend) -> None:
    hold = backend.sink().hold(make_job("a"))
    source = backend.source()

    assert not hold.coalesced
    assert source.claim() is None
    hold.release()
    assert claimed(source).job == hold.job


def test_a_dead_holders_job_is_claimable_and_its_attempt_is_the_first(backend: Backend) -> None:
    sink = backend.sink()
    sink.hold(make_job("a"))
    source = backend.source()
    assert source.claim() is None

    backend.crash(sink)

    claim = claimed(source)
    assert (claim.job.slide_id, claim.attempt) == ("a", 1)
    assert claim.last_reason.startswith("the webserver died")


def test_what_was_noted_while_held_is_known_to_the_claimer(backend: Backend) -> None:
    hold = backend.sink().hold(make_job("a"))
    hold.note({"id": 17, "version_id": "v-1"})
    hold.release()

    result = claimed(backend.source()).record.noted
    assert result is not None
    assert (result["id"], result["version_id"]) == (17, "v-1")


def test_a_withdrawn_job_leaves_no_trace(backend: Backend) -> None:
    sink = backend.sink()
    job = make_job("a", cancellation_key="cd" * 20)
    sink.hold(job).withdraw()

    assert backend.source().claim() is None
    assert list(backend.admin().list()) == []
    assert sink.peek(job) is None
    assert sink.cancel("cd" * 20) is None
    assert not sink.hold(make_job("a")).coalesced


@pytest.mark.parametrize("again", ["release", "withdraw", "note"])
def test_a_hold_ends_with_its_release(backend: Backend, again: str) -> None:
    sink = backend.sink()
    hold = sink.hold(make_job("a"))
    hold.release()

    with pytest.raises(QueueError):
        do(hold, again)
    assert sink.hold(make_job("a")).coalesced
    assert drain(backend.source()) == ["a"]


@pytest.mark.parametrize("late", ["release", "withdraw", "note"])
def test_a_holder_that_was_taken_for_dead_changes_nothing(backend: Backend, late: str) -> None:
    sink = backend.sink()
    hold = sink.hold(make_job("a"))
    backend.crash(sink)
    source = backend.source()
    claim = claimed(source)

    with pytest.raises(QueueError):
        do(hold, late)

    claim.check()
    assert backend.sink().hold(make_job("a")).coalesced
    assert source.claim() is None
    assert backend.admin().show(claim.job.id)[1].noted is None


def do(hold: Hold, what: str) -> None:
    """Use a hold."""
    if what == "note":
        hold.note({"id": 1, "version_id": 1})
    elif what == "release":
        hold.release()
    else:
        hold.withdraw()


@pytest.mark.parametrize("use", ["release", "withdraw", "note"])
def test_a_coalesced_job_is_not_held(backend: Backend, use: str) -> None:
    sink = backend.sink()
    first = sink.hold(make_job("a"))
    second = sink.hold(make_job("a"))

    with pytest.raises(QueueError, match="not held"):
        do(second, use)
    first.release()
    assert drain(backend.source()) == ["a"]


# --- deaths of workers


def test_a_dead_workers_job_goes_to_another_as_the_next_attempt(backend: Backend) -> None:
    put(backend.sink(), "a")
    one, other = backend.source(), backend.source()
    claimed(one)
    assert other.claim() is None

    backend.crash(one)

    claim = claimed(other)
    assert (claim.job.slide_id, claim.attempt) == ("a", 2)
    assert claim.last_reason.startswith("the worker died")
    assert [each.attempt for each in claim.record.events if isinstance(each, AttemptEnded)] == [1]
    assert other.claim() is None


def test_one_of_two_workers_takes_a_dead_ones_job(backend: Backend) -> None:
    put(backend.sink(), "a")
    dead, one, other = backend.source(), backend.source(), backend.source()
    claimed(dead)
    backend.crash(dead)

    assert [each.claim() is not None for each in (one, other)] == [True, False]


def test_a_taken_over_job_keeps_its_place_in_the_order(backend: Backend) -> None:
    sink, dead = backend.sink(), backend.source()
    put(sink, "a")
    claimed(dead)
    put(sink, "b")
    backend.crash(dead)

    assert drain(backend.source()) == ["a", "b"]


def test_a_job_that_killed_two_workers_is_backed_off(backend: Backend) -> None:
    put(backend.sink(), "a")
    for _ in range(2):
        source = backend.source()
        claimed(source)
        backend.crash(source)
    source = backend.source()

    assert source.claim() is None
    [asleep] = backend.admin().list()
    assert asleep.state is JobState.PARKED
    assert asleep.wakes_at is not None
    wait_s = asleep.wakes_at - backend.clock() / NS
    assert 0.49 * DEATH_BACKOFF.first_s < wait_s < 1.51 * DEATH_BACKOFF.first_s
    backend.clock.move(wait_s - 0.01)
    assert source.claim() is None
    backend.clock.move(0.02)
    assert claimed(source).attempt == 3


def test_other_jobs_run_while_one_is_backed_off(backend: Backend) -> None:
    sink = backend.sink()
    put(sink, "killer")
    for _ in range(2):
        source = backend.source()
        claimed(source)
        backend.crash(source)
    put(sink, "other")

    assert drain(backend.source()) == ["other"]


def test_a_job_that_kills_every_worker_is_exhausted(backend: Backend) -> None:
    put(backend.sink(), "a")
    exhausted = []
    for _ in range(4):
        source = backend.source(max_attempts=3)
        claim = source.claim()
        if claim is None:  # the dead worker's job was found, and backed off
            backend.clock.move(600)
            claim = claimed(source)
        exhausted.append((claim.attempt, claim.exhausted))
        backend.crash(source)

    assert exhausted == [(1, False), (2, False), (3, False), (4, True)]


def test_results_noted_by_earlier_attempts_are_kept_through_a_takeover(backend: Backend) -> None:
    put(backend.sink(), "a")
    first = backend.source()
    claim = claimed(first)
    claim.note({"id": "R-1", "version_id": 1})
    claim.note({"id": "R-1", "version_id": 2})
    backend.crash(first)

    again = claimed(backend.source())
    result = again.record.noted

    assert result is not None
    assert (result["id"], result["version_id"]) == ("R-1", 2)
    assert [each.attempt for each in again.record.events if isinstance(each, Noted)] == [1, 1]


def test_a_claim_is_noted_for_whoever_looks_at_the_job_later(backend: Backend) -> None:
    (job_id,) = put(backend.sink(), "a")
    source = backend.source()
    began_at = backend.clock() / NS
    claim = claimed(source)
    assert not [each for each in claim.record.events if isinstance(each, Claimed)]
    claim.retry("again", 5)
    backend.clock.move(6)
    claimed(source).finish(JobState.DONE)
    events = [each for each in backend.admin().show(job_id)[1].events if isinstance(each, Claimed)]
    assert [each.attempt for each in events] == [1, 2]
    assert [each.at - began_at for each in events] == pytest.approx([0, 6], abs=1e-3)
    assert all(each.claimer for each in events)
