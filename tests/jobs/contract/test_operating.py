"""The operator's side: counting, listing, showing, running again, stopping, purging."""

from __future__ import annotations

import pytest

from slidehook.errors import IllegalTransition
from slidehook.jobs.contract import JobNotFound
from slidehook.jobs.job import ENDED, AttemptEnded, Ended, JobState
from tests.jobs.contract.backends import Backend
from tests.jobs.contract.steps import claimed, drain, put
from tests.jobs.making import DAY_S, NS, make_job

KEY = "ab" * 20


def fill(backend: Backend) -> dict[str, str]:
    """Bring one job into each state; returns their ids by slide."""
    sink, source = backend.sink(), backend.source()
    slides = ("done", "failed", "cancelled", "parked", "later", "active", "young", "old")
    ids = dict(zip(slides, put(sink, *slides), strict=True))
    claimed(source).finish(JobState.DONE, "12 mm²", 2.0)
    claimed(source).finish(JobState.FAILED, "no tissue")
    claimed(source).finish(JobState.CANCELLED)
    claimed(source).park("no access")
    claimed(source).retry("away", 60)
    claimed(source)
    ids["held"] = sink.hold(make_job("held")).job.id
    return ids


def failed_job(backend: Backend) -> str:
    """Let a job fail for good; returns its id."""
    hold = backend.sink().hold(make_job("a", cancellation_key=KEY))
    hold.release()
    claimed(backend.source()).finish(JobState.FAILED, "no tissue")
    return hold.job.id


def test_jobs_are_counted_by_state(backend: Backend) -> None:
    admin = backend.admin()
    states = ("active", "ending", "waiting", "parked", "failed", "cancelled", "done", "damaged")
    assert admin.counts() == dict.fromkeys(states, 0)

    fill(backend)

    assert admin.counts() == {
        "active": 2, "ending": 0, "waiting": 2, "parked": 2, "failed": 1, "cancelled": 1, "done": 1, "damaged": 0,
    }  # fmt: skip


def test_the_listing_gives_live_jobs_before_ended_ones(backend: Backend) -> None:
    ids = fill(backend)
    slides = {job_id: slide for slide, job_id in ids.items()}

    listed = [slides[each.job_id] for each in backend.admin().list()]

    expected = ["active", "held", "young", "old", "later", "parked", "failed", "cancelled", "done"]
    assert listed == expected


def test_the_listing_can_be_narrowed(backend: Backend) -> None:
    ids = fill(backend)
    backend.sink().hold(make_job("n", app_id="nuclei")).release()
    admin = backend.admin()

    assert [each.job_id for each in admin.list((JobState.DONE,))] == [ids["done"]]
    assert [each.app_id for each in admin.list(app_id="nuclei")] == ["nuclei"]
    assert [each.job_id for each in admin.list((JobState.WAITING,), limit=1)] == [ids["young"]]
    assert list(admin.list((JobState.DONE,), app_id="nuclei")) == []
    assert list(admin.list(limit=0)) == []


def test_waiting_jobs_are_listed_in_the_order_in_which_they_run(backend: Backend) -> None:
    sink = backend.sink()
    put(sink, "usual")
    put(sink, "urgent", priority=1)
    listed = [each.job_id for each in backend.admin().list((JobState.WAITING,))]
    source = backend.source()

    assert [claimed(source).job.id, claimed(source).job.id] == listed


def test_ended_jobs_are_listed_newest_first(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    ids = put(sink, "a", "b", "c")
    for _ in range(3):
        claimed(source).finish(JobState.DONE)

    assert [each.job_id for each in backend.admin().list((JobState.DONE,))] == ids[::-1]


def test_a_summary_says_what_a_listing_shows(backend: Backend) -> None:
    ids = fill(backend)
    admin = backend.admin()

    active = admin.show(ids["active"])[0]
    assert (active.app_id, active.priority, active.attempt, active.state) == ("tissue-area", 5, 1, "active")
    assert active.claimer is not None
    assert active.claimer.startswith("work")
    assert active.made_at == pytest.approx(int(ids["active"][:16], 16) / NS)
    assert admin.show(ids["later"])[0].wakes_at == pytest.approx(backend.clock() / NS + 60)
    assert admin.show(ids["parked"])[0].wakes_at is None


def test_a_job_is_found_by_an_unambiguous_beginning_of_its_id(backend: Backend) -> None:
    sink = backend.sink()
    age = backend.clock()
    jobs = [make_job("a", made_ns=age), make_job("b", made_ns=age), make_job("c", made_ns=age + 10**15)]
    for job in jobs:
        sink.hold(job).release()
    admin = backend.admin()

    summary, record = admin.show(jobs[2].id[:16])
    assert summary.job_id == jobs[2].id
    assert record.job == jobs[2]
    with pytest.raises(JobNotFound, match="2 jobs"):
        admin.show(jobs[0].id[:16])
    with pytest.raises(JobNotFound, match="no job"):
        admin.show("0" * 16 + "-00000000")


@pytest.mark.parametrize("act", ["show", "retry", "cancel"])
def test_acting_on_an_unknown_job_says_that_there_is_none(backend: Backend, act: str) -> None:
    fill(backend)

    with pytest.raises(JobNotFound):
        getattr(backend.admin(), act)("ffff")


def test_a_failed_job_runs_again_with_all_its_attempts(backend: Backend) -> None:
    job_id = failed_job(backend)

    summary = backend.admin().retry(job_id)

    assert (summary.state, summary.attempt) == (JobState.WAITING, 0)
    claim = claimed(backend.source())
    assert (claim.job.id, claim.attempt, claim.exhausted) == (job_id, 1, False)
    assert not claim.record.ended
    claim.finish(JobState.DONE)
    assert backend.admin().counts()[JobState.DONE] == 1


def test_the_same_work_joins_a_job_that_runs_again(backend: Backend) -> None:
    job_id = failed_job(backend)
    backend.admin().retry(job_id)

    hold = backend.sink().hold(make_job("a", token="token-2"))

    assert hold.coalesced
    claim = claimed(backend.source())
    assert (claim.job.id, claim.secret()) == (job_id, "token-2")
    assert backend.sink().hold(make_job("a")).coalesced


def test_a_job_that_runs_again_can_be_cancelled_by_its_token(backend: Backend) -> None:
    job_id = failed_job(backend)
    backend.admin().retry(job_id)

    cancelled = backend.sink().cancel(KEY)

    assert cancelled is not None
    assert cancelled.job_id == job_id
    assert backend.source().claim() is None


def test_a_failed_job_has_no_token_of_its_own_any_more(backend: Backend) -> None:
    job_id = failed_job(backend)
    backend.admin().retry(job_id)
    source = backend.source()
    claim = claimed(source)
    assert claim.secret() is None

    claim.park("no access")
    assert source.claim() is None
    backend.sink().hold(make_job("a", token="token-2"))

    assert claimed(source).secret() == "token-2"


def test_a_failed_job_does_not_run_again_beside_the_same_work(backend: Backend) -> None:
    job_id = failed_job(backend)
    backend.sink().hold(make_job("a")).release()
    admin = backend.admin()

    with pytest.raises(IllegalTransition, match="queued already"):
        admin.retry(job_id)

    assert admin.show(job_id)[0].state is JobState.FAILED
    assert drain(backend.source()) == ["a"]


@pytest.mark.parametrize("slide", ["parked", "later"])
def test_a_sleeping_job_is_woken(backend: Backend, slide: str) -> None:
    ids = fill(backend)
    source = backend.source()
    drain(source)

    backend.admin().retry(ids[slide])

    claim = claimed(source)
    assert (claim.job.slide_id, claim.attempt) == (slide, 1)


@pytest.mark.parametrize("slide", ["done", "cancelled", "active", "held", "young"])
def test_a_job_that_does_not_need_it_is_not_run_again(backend: Backend, slide: str) -> None:
    ids = fill(backend)
    before = list(backend.admin().list())

    with pytest.raises(IllegalTransition):
        backend.admin().retry(ids[slide])

    assert list(backend.admin().list()) == before


@pytest.mark.parametrize("slide", ["parked", "later", "young"])
def test_the_operator_cancels_a_job_without_a_worker_at_once(backend: Backend, slide: str) -> None:
    ids = fill(backend)
    admin = backend.admin()

    cancelled = admin.cancel(ids[slide])

    assert cancelled.record is not None
    assert cancelled.record.job.slide_id == slide
    summary, record = admin.show(ids[slide])
    assert summary.state is JobState.CANCELLED
    assert record.events[-1].model_dump()["reason"] == "cancelled by an operator"


def test_the_operator_cancels_a_running_job_by_its_worker(backend: Backend) -> None:
    put(backend.sink(), "a")
    claim = claimed(backend.source())

    cancelled = backend.admin().cancel(claim.job.id)

    assert cancelled.record is None
    assert claim.cancel_wanted()


@pytest.mark.parametrize("slide", ["done", "failed", "cancelled"])
def test_the_operator_can_not_cancel_what_has_ended(backend: Backend, slide: str) -> None:
    ids = fill(backend)

    with pytest.raises(IllegalTransition, match="has ended"):
        backend.admin().cancel(ids[slide])


def test_a_purge_removes_ended_jobs_of_that_age_only(backend: Backend) -> None:
    ids = fill(backend)
    admin = backend.admin()
    assert admin.purge(7 * DAY_S).jobs == 0
    backend.clock.move(8 * DAY_S)
    fresh = put(backend.sink(), "fresh")

    assert admin.purge(9 * DAY_S).jobs == 0
    assert admin.purge(7 * DAY_S).jobs == 3

    left = {each.job_id for each in admin.list()}
    ended = {ids[slide] for slide in ("done", "failed", "cancelled")}
    assert left == set(ids.values()) - ended | set(fresh)


def test_a_purge_can_be_kept_to_one_outcome(backend: Backend) -> None:
    fill(backend)
    backend.clock.move(8 * DAY_S)
    admin = backend.admin()

    assert admin.purge(7 * DAY_S, (JobState.DONE,)).jobs == 1

    counts = admin.counts()
    assert (counts[JobState.DONE], counts[JobState.FAILED], counts[JobState.CANCELLED]) == (0, 1, 1)


@pytest.mark.parametrize("state", sorted(set(JobState) - ENDED))
def test_live_jobs_can_not_be_purged(backend: Backend, state: JobState) -> None:
    fill(backend)

    with pytest.raises(ValueError, match="ended"):
        backend.admin().purge(0, (JobState.DONE, state))

    assert len(list(backend.admin().list())) == 9


def test_live_jobs_work_on_after_a_purge(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    sink.hold(make_job("a", cancellation_key=KEY)).release()
    claim = claimed(source)
    sink.hold(make_job("a", token="token-2"))
    backend.clock.move(8 * DAY_S)

    backend.admin().purge(0)

    assert claim.secret() == "token-2"
    assert sink.hold(make_job("a")).coalesced
    assert sink.cancel(KEY) is not None
    claim.finish(JobState.CANCELLED)


def test_jobs_are_listed_and_purged_by_slide(backend: Backend) -> None:
    ids = fill(backend)
    admin = backend.admin()
    assert [each.job_id for each in admin.list(slide_id="failed")] == [ids["failed"]]
    assert list(admin.list(slide_id="failed", app_id="another")) == []
    assert list(admin.list((JobState.DONE,), slide_id="failed")) == []
    backend.clock.move(8 * DAY_S)
    assert admin.purge(7 * DAY_S, slide_id="failed", app_id="another").jobs == 0
    assert admin.purge(7 * DAY_S, slide_id="failed").jobs == 1
    assert admin.counts()["failed"] == 0
    assert admin.counts()["done"] == 1


def test_an_apps_traceback_is_kept_with_its_attempt(backend: Backend) -> None:
    (job_id,) = put(backend.sink(), "a")
    source = backend.source()
    claimed(source).retry("a fault", 0, trace="first\n  line")
    claimed(source).finish(JobState.FAILED, "a fault", 1.0, trace="second")
    events = backend.admin().show(job_id)[1].events
    assert [each.trace for each in events if isinstance(each, AttemptEnded | Ended)] == ["first\n  line", "second"]
