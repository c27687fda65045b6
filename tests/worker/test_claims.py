"""A queue that can't be reached for a while costs no work: what needs it waits, and everything else goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from slidehook.errors import ClaimLost, QueueError
from slidehook.jobs.files.admin import FileQueueAdmin
from slidehook.jobs.files.claimers import Claimer, read_beats
from slidehook.jobs.files.layout import Layout
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import FileClaim, FileSource
from slidehook.jobs.job import AttemptEnded, Claimed, Job, JobState
from worker import claims
from worker.claims import ClaimMonitor, JobCancelled, PatientClaim
from worker.shutdown import Interruption, WorkerLeaving

WITHIN_S = 120.0
Step = Callable[[PatientClaim], object]


class Share:
    """The folder that holds a queue, which can be taken away and brought back."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._elsewhere = root.with_name("elsewhere")

    def away(self) -> None:
        self.root.rename(self._elsewhere)

    def back(self) -> None:
        assert not self.root.exists(), "something was made where the queue was"
        self._elsewhere.rename(self.root)


@pytest.fixture
def share(queue: FileQueue) -> Iterator[Share]:
    share = Share(queue.layout.root)
    yield share
    if not share.root.exists():
        share.back()


@pytest.fixture
def bare(queue: FileQueue, source: FileSource, job: Job) -> FileClaim:
    queue.put(job)
    claim = source.claim()
    assert claim is not None
    return claim


@pytest.fixture
def claim(bare: FileClaim, leaving: Interruption, monkeypatch: pytest.MonkeyPatch) -> PatientClaim:
    monkeypatch.setattr(claims, "AGAIN_S", 0.01)
    return PatientClaim(bare, leaving)


class Doing(threading.Thread):
    """One step of a claim in another thread; `failed` is set at its first failure."""

    def __init__(self, claim: PatientClaim, step: Step, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(daemon=True)
        self.claim, self.step = claim, step
        self.failed = threading.Event()
        self.error: Exception | None = None
        before = claim._failed

        def failed(error: QueueError) -> None:
            self.failed.set()
            before(error)

        monkeypatch.setattr(claim, "_failed", failed)

    def run(self) -> None:
        try:
            self.step(self.claim)
        except (QueueError, WorkerLeaving, JobCancelled) as error:
            self.error = error


STEPS: dict[str, tuple[Step, JobState]] = {
    "check": (lambda claim: claim.check(), JobState.ACTIVE),
    "secret": (lambda claim: claim.secret(), JobState.ACTIVE),
    "cancel_wanted": (lambda claim: claim.cancel_wanted(), JobState.ACTIVE),
    "unwanted": (lambda claim: claim.unwanted(), JobState.ACTIVE),
    "note": (lambda claim: claim.note({"id": 1, "version_id": "v1"}), JobState.ACTIVE),
    "retry": (lambda claim: claim.retry("DPAT is away", 60), JobState.PARKED),
    "park": (lambda claim: claim.park("no access"), JobState.PARKED),
    "give_back": (lambda claim: claim.give_back(), JobState.WAITING),
    "finish": (lambda claim: claim.finish(JobState.DONE, "ANSWER: 42", 1.0), JobState.DONE),
}


@pytest.mark.parametrize("step", STEPS)
def test_each_step_waits_for_the_queue_and_is_then_done(
    claim: PatientClaim, share: Share, queue: FileQueue, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    act, state = STEPS[step]
    doing = Doing(claim, act, monkeypatch)
    share.away()
    doing.start()
    assert doing.failed.wait(WITHIN_S)
    assert doing.is_alive()
    share.back()
    doing.join(WITHIN_S)
    assert not doing.is_alive()
    assert doing.error is None
    summary, record = FileQueueAdmin(queue).show(claim.job.id)
    assert summary.state is state
    assert sum(isinstance(each, AttemptEnded) for each in record.events) == (step in {"retry", "park", "give_back"})


@pytest.mark.parametrize("step", STEPS)
def test_no_step_of_a_claim_that_another_took_while_the_queue_was_away_is_done(
    claim: PatientClaim, share: Share, queue: FileQueue, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    act, _ = STEPS[step]
    doing = Doing(claim, act, monkeypatch)
    (mine,) = (queue.layout.root / "active").iterdir()
    share.away()
    doing.start()
    assert doing.failed.wait(WITHIN_S)
    folder = share.root.with_name("elsewhere") / "active"
    theirs = mine.name.rpartition(".")[0] + ".work-other-000000000000-1-00000000"
    (folder / mine.name).rename(folder / theirs)
    share.back()
    doing.join(WITHIN_S)
    if step in {"secret", "cancel_wanted", "unwanted"}:  # these only read what is there for whoever works
        assert doing.error is None
    else:
        assert isinstance(doing.error, ClaimLost)
    assert [each.name for each in (share.root / "active").iterdir()] == [theirs]
    events = FileQueueAdmin(queue).show(claim.job.id)[1].events
    assert not [each for each in events if each.attempt and not isinstance(each, Claimed)]


@pytest.mark.parametrize("step", ["check", "note"])
def test_a_worker_that_is_told_to_leave_waits_no_longer(
    claim: PatientClaim, share: Share, leaving: Interruption, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    doing = Doing(claim, STEPS[step][0], monkeypatch)
    share.away()
    doing.start()
    assert doing.failed.wait(WITHIN_S)
    leaving.ask()
    doing.join(WITHIN_S)
    assert isinstance(doing.error, WorkerLeaving)


@pytest.mark.parametrize("returns", [True, False])
def test_a_worker_that_leaves_tries_a_little_longer_to_give_its_job_back(
    claim: PatientClaim,
    share: Share,
    leaving: Interruption,
    monkeypatch: pytest.MonkeyPatch,
    returns: bool,
) -> None:
    if not returns:
        monkeypatch.setattr(claims, "LEAVING_S", 0.1)
    leaving.ask()
    doing = Doing(claim, STEPS["give_back"][0], monkeypatch)
    share.away()
    doing.start()
    assert doing.failed.wait(WITHIN_S)
    if not returns:
        doing.join(WITHIN_S)
        assert not doing.is_alive()
    share.back()
    doing.join(WITHIN_S)
    assert (doing.error is None) is returns
    assert len(list((share.root / "active").iterdir())) == (0 if returns else 1)


def test_a_watch_drops_no_job_while_the_queue_is_away_and_looks_on(
    bare: FileClaim, share: Share, queue: FileQueue, leaving: Interruption, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[QueueError] = []
    check = FileClaim.check

    def counted(claim: FileClaim) -> None:
        try:
            check(claim)
        except QueueError as error:
            failures.append(error)
            raise

    monkeypatch.setattr(FileClaim, "check", counted)
    with ClaimMonitor(bare, leaving, every_s=0.01):
        for looks in (3, 6, 9):
            share.away()
            wait_for(partial(has_more_than, failures, looks))
            share.back()
            leaving.check()
        queue.cancel_job(bare.job.id)
        with pytest.raises(JobCancelled):
            leaving.pause(WITHIN_S)


def has_more_than(found: list[QueueError], count: int) -> bool:
    return len(found) > count


def test_a_heartbeat_goes_on_when_the_queue_is_back(tmp_path: Path) -> None:
    root = Layout(tmp_path / "queue").root
    share = Share(root)
    claimer = Claimer(root, "work", beat_s=0.01)
    try:
        share.away()
        time.sleep(0.1)  # some beats are missed
        share.back()
        before = read_beats(root)[claimer.id]
        wait_for(lambda: read_beats(root).get(claimer.id, -1) > before)
    finally:
        claimer.close()
    assert list((root / "beats").iterdir()) == []


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)
