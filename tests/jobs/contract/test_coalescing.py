"""The same work asked for again: one job, the newest token."""

from __future__ import annotations

from collections.abc import Callable
from threading import Barrier, Thread

import pytest

from slidehook.jobs.contract import Hold, JobSink
from slidehook.jobs.job import ENDED, Job, JobState
from slidehook.models import Point, Polygon, TaggedPolygonInput
from slidehook.models.inputs import PolygonContent
from tests.jobs.contract.backends import Backend
from tests.jobs.contract.steps import claimed, drain, put
from tests.jobs.making import DPAT, make_job


def polygon(*points: tuple[float, float]) -> TaggedPolygonInput:
    outline = Polygon(points=[Point(x=x, y=y) for x, y in points])
    return TaggedPolygonInput(type="taggedPolygon", content=PolygonContent(polygon=outline, tags=["tumour"]))


def hold_it(backend: Backend, job: Job) -> None:
    backend.sink().hold(job)


def queue_it(backend: Backend, job: Job) -> None:
    backend.sink().hold(job).release()


def run_it(backend: Backend, job: Job) -> None:
    queue_it(backend, job)
    claimed(backend.source())


def park_it(backend: Backend, job: Job) -> None:
    queue_it(backend, job)
    claimed(backend.source()).park("no access")


def delay_it(backend: Backend, job: Job) -> None:
    queue_it(backend, job)
    claimed(backend.source()).retry("again", 60)


def orphan_it(backend: Backend, job: Job) -> None:
    queue_it(backend, job)
    source = backend.source()
    claimed(source)
    backend.crash(source)


LIVE: dict[str, Callable[[Backend, Job], None]] = {
    "held": hold_it,
    "waiting": queue_it,
    "active": run_it,
    "parked": park_it,
    "delayed": delay_it,
    "orphaned": orphan_it,
}


@pytest.mark.parametrize("live", LIVE)
def test_the_same_work_joins_the_job_that_is_there(backend: Backend, live: str) -> None:
    job = make_job("a")
    LIVE[live](backend, job)
    sink = backend.sink()

    again = sink.hold(make_job("a", token="token-2"))

    assert again.coalesced
    assert again.job.id == job.id
    assert [each.job_id for each in backend.admin().list()] == [job.id]
    record = sink.peek(job)
    assert record is not None
    assert record.job.id == job.id


@pytest.mark.parametrize("outcome", sorted(ENDED))
def test_the_same_work_is_a_new_job_when_the_first_has_ended(backend: Backend, outcome: JobState) -> None:
    sink, source = backend.sink(), backend.source()
    put(sink, "a")
    claimed(source).finish(outcome)
    assert sink.peek(make_job("a")) is None

    hold = sink.hold(make_job("a", token="token-2"))
    hold.release()

    assert not hold.coalesced
    assert claimed(source).secret() == "token-2"


@pytest.mark.parametrize(
    "other",
    [
        make_job("b"),
        make_job("a", app_id="nuclei"),
        make_job("a", dpat=DPAT + "2"),
        make_job("a", work=polygon((0, 0), (1, 0), (1, 1))),
    ],
    ids=["slide", "app", "DPAT", "input"],
)
def test_other_work_is_another_job(backend: Backend, other: Job) -> None:
    sink = backend.sink()
    put(sink, "a")

    hold = sink.hold(other)
    hold.release()

    assert not hold.coalesced
    assert len(list(backend.admin().list())) == 2


def test_regions_that_differ_are_other_work_and_equal_ones_the_same(backend: Backend) -> None:
    sink = backend.sink()
    sink.hold(make_job("a", work=polygon((0, 0), (0.1, 0.2), (1, 1))))

    assert not sink.hold(make_job("a", work=polygon((0, 0), (0.1, 0.3), (1, 1)))).coalesced
    assert sink.hold(make_job("a", work=polygon((0, 0), (0.1, 0.2), (1, 1)))).coalesced


def test_priority_and_origin_do_not_make_other_work(backend: Backend) -> None:
    sink = backend.sink()
    put(sink, "a")

    assert sink.hold(make_job("a", priority=1, trigger="import")).coalesced


def test_five_requests_at_once_make_one_job(backend: Backend) -> None:
    requests = 5
    start = Barrier(requests)
    holds: list[Hold] = []

    def ask(sink: JobSink, number: int) -> None:
        job = make_job("a", token=f"token-{number}")
        start.wait()
        holds.append(sink.hold(job))

    sinks = [backend.sink(), backend.sink()]
    threads = [Thread(target=ask, args=(sinks[number % 2], number)) for number in range(requests)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [each.coalesced for each in holds].count(False) == 1
    assert len({each.job.id for each in holds}) == 1
    next(each for each in holds if not each.coalesced).release()
    source = backend.source()
    token = claimed(source).secret()
    assert token is not None
    assert token.startswith("token-")
    assert source.claim() is None


def test_the_newest_token_is_given(backend: Backend) -> None:
    sink = backend.sink()
    put(sink, "a")
    for number in (2, 3, 4):
        sink.hold(make_job("a", token=f"token-{number}"))

    claim = claimed(backend.source())
    assert claim.secret() == "token-4"
    backend.sink().hold(make_job("a", token="token-5"))
    assert claim.secret() == "token-5"


def test_the_newest_token_is_the_last_that_came_whatever_the_clock_says(backend: Backend) -> None:
    sink = backend.sink()
    put(sink, "a")
    sink.hold(make_job("a", token="token-2"))
    backend.clock.move(-3600)
    sink.hold(make_job("a", token="token-3"))

    assert claimed(backend.source()).secret() == "token-3"


def test_without_another_request_the_jobs_own_token_is_given(backend: Backend) -> None:
    put(backend.sink(), "a")

    assert claimed(backend.source()).secret() == "token-1"


def test_the_newest_token_outlives_a_workers_death(backend: Backend) -> None:
    sink, dead = backend.sink(), backend.source()
    put(sink, "a")
    claimed(dead)
    sink.hold(make_job("a", token="token-2"))
    backend.crash(dead)

    assert claimed(backend.source()).secret() == "token-2"


@pytest.mark.parametrize("outcome", sorted(ENDED))
def test_no_token_is_left_of_a_job_that_has_ended(backend: Backend, outcome: JobState) -> None:
    sink = backend.sink()
    job = make_job("a", token="secret-1")
    sink.hold(job).release()
    sink.hold(make_job("a", token="secret-2"))
    claim = claimed(backend.source())

    claim.finish(outcome)

    _, record = backend.admin().show(job.id)
    assert not record.job.has_secret
    assert "secret-" not in record.model_dump_json()


def test_tokens_of_an_earlier_job_are_not_given_to_a_later_one(backend: Backend) -> None:
    sink, source = backend.sink(), backend.source()
    put(sink, "a")
    sink.hold(make_job("a", token="token-2"))
    claimed(source).finish(JobState.DONE)
    put(sink, "a")

    assert claimed(source).secret() == "token-1"


def test_a_request_sees_the_result_that_the_job_has_already(backend: Backend) -> None:
    sink = backend.sink()
    hold = sink.hold(make_job("a"))
    hold.note({"id": 17, "version_id": 1})
    hold.release()
    claimed(backend.source()).note({"id": 17, "version_id": 2})

    record = backend.sink().peek(make_job("a"))

    assert record is not None
    assert record.noted is not None
    assert (record.noted["id"], record.noted["version_id"]) == (17, 2)


def test_a_withdrawn_job_lets_the_next_request_stand_alone(backend: Backend) -> None:
    sink = backend.sink()
    first = sink.hold(make_job("a"))
    sink.hold(make_job("a", token="token-2"))
    first.withdraw()

    third = sink.hold(make_job("a", token="token-3"))

    assert not third.coalesced
    third.release()
    assert drain(backend.source()) == ["a"]


@pytest.mark.parametrize(("make", "held"), [(hold_it, True), (queue_it, False), (run_it, False), (park_it, False)])
def test_only_a_job_that_its_putter_keeps_is_held(
    backend: Backend, make: Callable[[Backend, Job], None], held: bool
) -> None:
    job = make_job()
    make(backend, job)
    assert backend.sink().is_held(job.id) is held
    assert not backend.sink().is_held(make_job().id)
