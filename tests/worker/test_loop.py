from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from slidehook.apps.wholeslide import WholeSlideDemo
from slidehook.dpat import destination, system
from slidehook.errors import QueueError
from slidehook.geometry import Frame
from slidehook.jobs.files.admin import FileQueueAdmin
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import FileSource
from slidehook.jobs.job import Job, JobState, digest
from slidehook.models import ImageInfo, QualityControl, Size
from slidehook.registry.fingerprint import fingerprint
from slidehook.registry.registry import Registry
from slidehook.result import Quality, Result
from slidehook.settings import Settings
from slidehook.systems import Done, Systems
from tests.iaapi.little_dpat import Call, LittleDpat, Reply
from worker import attempt, claims, loop
from worker.claims import JobCancelled
from worker.context import WorkerContext
from worker.loop import Worker
from worker.publisher import Publisher
from worker.shutdown import Interruption
from worker.workspace import CachedResult, Workspace

RESULTS = "/applications/wholeslide/results"
QUALITY = "/slides/S-1/qualityControl"
FRAME = Frame(2000, 1000)
KEY = digest("the-cancellation")


class Bench:
    """A worker in this process. Its job was analysed before, and is only to be stored, so that it needs no child."""

    def __init__(self, worker: Worker, leaving: Interruption, queue: FileQueue, source: FileSource) -> None:
        self.worker = worker
        self.leaving = leaving
        self.queue = queue
        self.source = source
        claim = source.claim()
        assert claim is not None
        self.claim = claim

    def work(self) -> None:
        self.worker._work(self.claim)

    def state(self) -> JobState:
        return FileQueueAdmin(self.queue).show(self.claim.job.id)[0].state


@pytest.fixture
def bench(tmp_path: Path, settings: Settings, queue: FileQueue, source: FileSource, job: Job) -> Bench:
    known = QualityControl(status="NotSet", version_id="q1")
    info = ImageInfo(id="S-1", image_size=Size(width=2000, height=1000), quality_control=known)
    queue.put(job.model_copy(update={"image_info": info, "cancellation_key": KEY}))
    app, leaving = WholeSlideDemo(), Interruption()
    workspace = Workspace(tmp_path / "data", queue.claimer.id)
    done = Done(Result("ANSWER: 42", quality=Quality.REJECTED), FRAME)
    workspace.keep_result(job.id, CachedResult(done, app.version, fingerprint(app)))
    systems = Systems(settings, pause=leaving.pause)
    context = WorkerContext(settings, Registry([app]), systems, workspace, leaving)
    worker = Worker(context, source, upkeep=lambda: None, drop_dead=lambda: None)
    return Bench(worker, leaving, queue, source)


@pytest.fixture
def listening(bench: Bench) -> Iterator[None]:
    """Let signals reach the worker, as its command does."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(each) for each in numbers]
    bench.leaving.listen()
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def shown(dpat: LittleDpat) -> list[str]:
    return [each["displayResult"] for each in dpat.results.values()]


def test_the_quality_is_set_behind_the_result(bench: Bench, dpat: LittleDpat) -> None:
    dpat.answer("PUT", QUALITY, Reply(body={}))
    bench.work()
    assert dpat.calls[-1].path == QUALITY
    assert (bench.state(), shown(dpat)) == (JobState.DONE, ["ANSWER: 42"])


def test_who_lost_the_claim_behind_the_result_sets_no_quality(bench: Bench, dpat: LittleDpat) -> None:
    def unsure(_: Call) -> Reply:
        bench.claim.give_back()  # as if another had taken it over, while DPAT did not answer for long
        return Reply(503)

    dpat.answer("PUT", QUALITY, unsure)
    bench.work()
    assert len(dpat.made("PUT")) == 1
    assert bench.state() is JobState.WAITING


def ask_to_leave(_: Bench) -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def cancel(bench: Bench) -> None:
    bench.leaving.drop(JobCancelled("cancelled"))


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize("end", [ask_to_leave, cancel])
def test_a_worker_that_is_to_stop_while_it_sets_the_quality_lets_the_result_stand(
    bench: Bench, dpat: LittleDpat, end: Callable[[Bench], None]
) -> None:
    def away(_: Call) -> Reply:
        end(bench)
        return Reply(503)

    dpat.answer("PUT", QUALITY, away)
    bench.work()
    assert len(dpat.made("PUT")) == 1
    assert (bench.state(), shown(dpat)) == (JobState.DONE, ["ANSWER: 42"])


@pytest.mark.parametrize("for_good", [False, True], ids=["for a moment", "until the worker has left"])
def test_a_queue_that_is_away_while_the_quality_is_set_lets_the_result_stand(
    bench: Bench, dpat: LittleDpat, monkeypatch: pytest.MonkeyPatch, for_good: bool
) -> None:
    monkeypatch.setattr(claims, "LEAVING_S", 0.1)
    root = bench.queue.layout.root
    elsewhere = root.with_name("elsewhere")

    def leave_or_return() -> None:
        if for_good:
            bench.leaving.ask()
        else:
            elsewhere.rename(root)

    then = threading.Timer(1.0, leave_or_return)

    def unsure(_: Call) -> Reply:
        if not then.is_alive():
            root.rename(elsewhere)
            then.start()
        return Reply(503 if for_good else 422)

    dpat.answer("PUT", QUALITY, unsure)
    with pytest.raises(QueueError) if for_good else nullcontext():
        bench.work()
    then.join()
    assert (len(dpat.made("PUT")), shown(dpat)) == (1, ["ANSWER: 42"])
    if for_good:
        elsewhere.rename(root)
        bench.source._looked_at = float("-inf")
        assert bench.source.claim() is None
    assert bench.state() is JobState.DONE


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize("reply", [Reply(422), Reply(503)], ids=["failed", "waits to try again"])
def test_a_cancel_waits_for_no_dpat_that_is_being_told_how_the_attempt_ended(
    bench: Bench, dpat: LittleDpat, monkeypatch: pytest.MonkeyPatch, reply: Reply
) -> None:
    monkeypatch.setattr(system, "TRIES", 1)
    ended = threading.Event()
    dpat.results[1] = {"id": 1, "versionId": "v1", "slideId": "S-1"}

    def told(call: Call) -> Reply:
        if call.json["displayResult"] == "ANSWER: 42":
            return reply
        bench.queue.cancel(KEY)
        ended.wait(120)
        return dpat.usual(call)

    patient = bench.worker._context.settings.model_copy(update={"read_timeout": timedelta(seconds=120)})
    systems = Systems(patient, pause=bench.leaving.pause)
    bench.worker._context = replace(bench.worker._context, systems=systems)
    for method in ("PATCH", "PUT"):
        dpat.answer(method, f"{RESULTS}/1", told)
    began = time.monotonic()
    bench.work()
    assert time.monotonic() - began < 60
    assert bench.state() is JobState.PARKED
    ended.set()


def test_setting_the_quality_is_limited_in_time(
    bench: Bench, dpat: LittleDpat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "TRIES", 1_000_000)
    monkeypatch.setattr(destination, "QUALITY_S", 0.5)
    dpat.answer("PUT", QUALITY, Reply(503))
    bench.work()
    assert (bench.state(), shown(dpat)) == (JobState.DONE, ["ANSWER: 42"])


def test_a_token_that_only_the_thread_for_progress_has_read_is_tried_at_once(
    bench: Bench, dpat: LittleDpat, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Call] = []

    class LateProgress(Publisher):
        def close(self, wait_s: float | None = None) -> None:
            super().close(wait_s)
            if dpat.calls and not asked:
                asked.extend(dpat.calls)
                bench.queue.hold(job.model_copy(update={"secret": "newer"}))
                bench.claim.secret()  # as the thread does for its own call

    monkeypatch.setattr(attempt, "Publisher", LateProgress)
    for method in ("GET", "POST"):
        dpat.answer(method, "*", Reply(401))
    bench.work()
    again = bench.source.claim()
    assert again is not None
    assert (again.attempt, again.secret()) == (1, "newer")


def test_a_job_whose_app_is_not_here_ends_as_failed_and_the_worker_goes_on(bench: Bench) -> None:
    bench.worker._context = replace(bench.worker._context, registry=Registry([]))
    bench.work()
    summary, record = FileQueueAdmin(bench.queue).show(bench.claim.job.id)
    assert (summary.state, summary.attempt) == (JobState.FAILED, 1)
    assert record.events[-1].model_dump()["reason"].startswith("slidehook has a fault of its own: KeyError")


@pytest.mark.parametrize("error", [FileNotFoundError("gone"), QueueError("the queue can't be purged")])
def test_upkeep_that_breaks_off_ends_no_worker(bench: Bench, error: Exception) -> None:
    def upkeep() -> None:
        raise error

    bench.worker._upkeep = bench.worker._drop_dead = upkeep
    assert bench.worker._step(drain=False)
    bench.work()
    assert bench.state() is JobState.DONE


def test_a_fault_while_a_job_is_looked_for_ends_no_worker(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "QUEUE_AWAY_WAIT_S", 0.01)
    looks: list[None] = []

    def claim() -> None:
        looks.append(None)
        if len(looks) > 2:
            bench.leaving.ask()
            return
        raise ValueError("nobody foresaw this")

    monkeypatch.setattr(bench.source, "claim", claim)
    bench.worker.run()
    assert len(looks) == 3
