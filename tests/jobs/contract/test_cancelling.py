"""Stopping a job by its cancellation token, wherever it is."""

from __future__ import annotations

import pytest

from slidehook.jobs.job import ENDED, Ended, JobRecord, JobState
from tests.jobs.contract.backends import Backend
from tests.jobs.contract.steps import claimed, put
from tests.jobs.making import make_job

KEY, OTHER_KEY = "ab" * 20, "ef" * 20


def state_of(backend: Backend, job_id: str) -> JobState:
    return backend.admin().show(job_id)[0].state


def test_a_waiting_job_is_cancelled_at_once(backend: Backend) -> None:
    sink = backend.sink()
    hold = sink.hold(make_job("a", cancellation_key=KEY))
    hold.note({"id": 17, "version_id": 1})
    hold.release()

    cancelled = sink.cancel(KEY)

    assert cancelled is not None
    assert cancelled.job_id == hold.job.id
    assert cancelled.record is not None
    assert cancelled.record.job == hold.job
    assert cancelled.record.noted is not None
    assert cancelled.record.noted["id"] == 17
    assert state_of(backend, hold.job.id) is JobState.CANCELLED
    assert backend.source().claim() is None


def test_a_parked_job_is_cancelled_at_once(backend: Backend) -> None:
    sink = backend.sink()
    hold = sink.hold(make_job("a", cancellation_key=KEY))
    hold.release()
    claimed(backend.source()).park("no access")

    cancelled = sink.cancel(KEY)

    assert cancelled is not None
    assert cancelled.record is not None
    assert state_of(backend, hold.job.id) is JobState.CANCELLED
    assert not sink.hold(make_job("a")).coalesced


def test_a_job_that_waits_for_a_retry_is_cancelled_at_once(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    hold = sink.hold(make_job("a", cancellation_key=KEY))
    hold.release()
    claimed(source).retry("again", 60)

    assert sink.cancel(KEY) is not None

    backend.clock.move(120)
    assert source.claim() is None
    _, record = backend.admin().show(hold.job.id)
    assert isinstance(record.events[-1], Ended)
    assert record.events[-1].attempt == 1


def test_a_running_jobs_worker_is_told(backend: Backend) -> None:
    sink = backend.sink()
    sink.hold(make_job("a", cancellation_key=KEY)).release()
    claim = claimed(backend.source())
    assert not claim.cancel_wanted()

    cancelled = sink.cancel(KEY)

    assert cancelled is not None
    assert cancelled.record is None
    assert claim.cancel_wanted()
    claim.check()


def test_only_the_worker_of_that_job_is_told(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    sink.hold(make_job("a", cancellation_key=KEY)).release()
    put(sink, "b")
    claimed(source)
    other = claimed(source)

    sink.cancel(KEY)

    assert not other.cancel_wanted()


def test_a_held_job_is_cancelled_by_whoever_claims_it(backend: Backend) -> None:
    sink = backend.sink()
    hold = sink.hold(make_job("a", cancellation_key=KEY))

    cancelled = sink.cancel(KEY)

    assert cancelled is not None
    assert cancelled.record is None
    hold.release()
    assert claimed(backend.source()).cancel_wanted()


def test_the_wish_to_cancel_outlives_the_workers_death(backend: Backend) -> None:
    sink, dead = backend.sink(), backend.source()
    sink.hold(make_job("a", cancellation_key=KEY)).release()
    claimed(dead)
    sink.cancel(KEY)
    backend.crash(dead)

    assert claimed(backend.source()).cancel_wanted()


@pytest.mark.parametrize("outcome", sorted(ENDED))
def test_a_job_that_has_ended_can_not_be_cancelled(backend: Backend, outcome: JobState) -> None:
    sink = backend.sink()
    hold = sink.hold(make_job("a", cancellation_key=KEY))
    hold.release()
    claimed(backend.source()).finish(outcome)

    assert sink.cancel(KEY) is None
    assert state_of(backend, hold.job.id) is outcome


def test_an_unknown_token_cancels_nothing(backend: Backend) -> None:
    sink = backend.sink()
    sink.hold(make_job("a", cancellation_key=KEY)).release()

    assert sink.cancel(OTHER_KEY) is None
    assert backend.source().claim() is not None


def test_a_coalesced_requests_own_token_cancels_the_job(backend: Backend) -> None:
    sink = backend.sink()
    hold = sink.hold(make_job("a", cancellation_key=KEY))
    hold.release()
    sink.hold(make_job("a", cancellation_key=OTHER_KEY))

    cancelled = backend.sink().cancel(OTHER_KEY)

    assert cancelled is not None
    assert cancelled.job_id == hold.job.id
    assert sink.cancel(KEY) is None


def test_a_coalesced_requests_own_token_is_void_when_the_job_has_ended(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    sink.hold(make_job("a", cancellation_key=KEY)).release()
    sink.hold(make_job("a", cancellation_key=OTHER_KEY))
    claimed(source).finish(JobState.DONE)
    put(sink, "a")

    assert sink.cancel(OTHER_KEY) is None
    assert source.claim() is not None


def test_the_wish_to_cancel_ends_with_its_job(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    sink.hold(make_job("a", cancellation_key=KEY)).release()
    claim = claimed(source)
    sink.cancel(KEY)
    claim.finish(JobState.CANCELLED)
    put(sink, "a")

    assert not claimed(source).cancel_wanted()


def test_a_cancelled_jobs_worker_can_still_end_it_otherwise(backend: Backend) -> None:
    sink = backend.sink()
    hold = sink.hold(make_job("a", cancellation_key=KEY))
    hold.release()
    claim = claimed(backend.source())
    sink.cancel(KEY)

    claim.finish(JobState.DONE)

    assert state_of(backend, hold.job.id) is JobState.DONE


def test_who_asks_for_the_same_work_after_it_was_to_stop_has_it_go_on(backend: Backend) -> None:
    sink = backend.sink()
    sink.hold(make_job("S-17", cancellation_key=KEY)).release()
    claim = claimed(backend.source())
    sink.cancel(KEY)
    assert claim.cancel_wanted()

    assert sink.hold(make_job("S-17", token="token-2")).coalesced
    assert not claim.cancel_wanted()
    assert claim.secret() == "token-2"


# --- while DPAT can't be told


def test_a_waiting_jobs_slide_is_told_before_the_job_ends_and_no_worker_has_it_meanwhile(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    sink.hold(make_job("a", cancellation_key=KEY)).release()
    sink.hold(make_job("a", token="token-2"))
    asked: list[tuple[str, str, JobState]] = []

    def tell(record: JobRecord) -> bool:
        asked.append((record.job.slide_id, record.job.secret, state_of(backend, record.job.id)))
        return True

    cancelled = sink.cancel(KEY, tell=tell)

    assert asked == [("a", "token-2", JobState.ACTIVE)]
    assert cancelled is not None
    assert cancelled.record is not None
    assert source.claim() is None


@pytest.mark.parametrize("sleeping", [False, True], ids=["waiting", "waiting for access"])
def test_a_worker_tells_the_slide_that_could_not_be_told_with_the_token_that_came_with_the_cancel(
    backend: Backend, *, sleeping: bool
) -> None:
    sink, source = backend.sink(), backend.source()
    hold = sink.hold(make_job("a", cancellation_key=KEY))
    hold.release()
    if sleeping:
        claimed(source).park("no access")

    cancelled = sink.cancel(KEY, secret="token-2", tell=lambda _: False)

    assert cancelled is not None
    assert cancelled.record is None
    claim = claimed(source)
    assert claim.job.id == hold.job.id
    assert claim.cancel_wanted()
    assert claim.secret() == "token-2"


def test_a_job_is_not_lost_when_telling_its_slide_fails_in_an_unforeseen_way(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    sink.hold(make_job("a", cancellation_key=KEY)).release()

    def fails(_: JobRecord) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sink.cancel(KEY, tell=fails)

    assert claimed(source).cancel_wanted()


def test_a_running_jobs_worker_is_told_and_gets_the_token_that_came_with_the_cancel(backend: Backend) -> None:
    sink = backend.sink()
    sink.hold(make_job("a", cancellation_key=KEY)).release()
    claim = claimed(backend.source())

    sink.cancel(KEY, secret="token-2")

    assert claim.cancel_wanted()
    assert claim.secret() == "token-2"
