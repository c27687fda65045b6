"""Whatever the queue does, its process may die, or the power fail, between any two steps, and no job is lost."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slidehook.dpat.deleted_result import DeletedResult
from slidehook.jobs.contract import Claim, Hold
from slidehook.jobs.files.admin import FileQueueAdmin
from slidehook.jobs.files.names import JobName
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import FileSource
from slidehook.jobs.job import ENDED, Ended, JobState, Noted, parse_record
from tests.jobs.crashing import LASTING, CuttingOs, Journal, in_place_of_os
from tests.jobs.making import DAY_S, Clock, make_job
from tests.stopping import stop_deleted

CENTURY_S = 100 * 365 * DAY_S
MAX_ATTEMPTS = 9
ROUNDS = 20
FIRST_TOKEN, NEWER_TOKEN = "token-first-end", "token-newer-end"
_TOKEN = re.compile(rb"token-[a-z]+-end")

W, A, P, E = JobState.WAITING, JobState.ACTIVE, JobState.PARKED, JobState.ENDING
DONE, FAILED, CANCELLED = JobState.DONE, JobState.FAILED, JobState.CANCELLED


class Process:
    """One process at a queue."""

    def __init__(self, root: Path, clock: Clock, role: str) -> None:
        self.queue = FileQueue(root, role, clock=clock)
        self.source = FileSource(self.queue, max_attempts=MAX_ATTEMPTS, take_over_every_s=0)
        self.admin = FileQueueAdmin(self.queue)
        self.id = self.queue.claimer.id

    def die(self) -> None:
        """Do what the kernel does for a process that was killed: its lock goes, its files stay as they are."""
        self.source.close()
        claimer = self.queue.claimer
        claimer._stop.set()
        claimer._thread.join()
        claimer._lock.release()
        self.queue._claimer = None

    def claim(self) -> Claim:
        claim = self.source.claim()
        assert claim is not None
        return claim


@dataclass
class Known:
    """What somebody outside was told, and relies on."""

    jobs: set[str] = field(default_factory=set)
    """Acknowledged: they must come to their end."""
    ended: dict[str, JobState] = field(default_factory=dict)
    """They have ended so, and never run again."""
    gone: set[str] = field(default_factory=set)
    """Withdrawn: they never run."""
    awake: set[str] = field(default_factory=set)
    """They run without anybody's asking again."""
    cancelled: set[str] = field(default_factory=set)
    """They were told to stop."""
    deleted: set[str] = field(default_factory=set)
    """Their result was deleted."""
    token: str = ""
    """The newest token that was taken over for them."""
    results: list[int | str] = field(default_factory=list)


class Stage:
    """A queue, a webserver and a worker that are to die, and what the world was told."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = Clock()
        self.web = Process(root, self.clock, "web")
        self.worker = Process(root, self.clock, "work")
        self.known = Known()
        self.job = make_job("S-1", token=FIRST_TOKEN, cancellation_key="c" * 40)
        self.again = make_job("S-1", token=NEWER_TOKEN, cancellation_key="d" * 40)
        self.claim: Claim | None = None
        self.held: Hold | None = None

    def put(self) -> None:
        self.web.queue.put(self.job)
        self.known.jobs.add(self.job.id)

    def hold(self) -> Hold:
        self.held = self.web.queue.hold(self.job)
        return self.held

    def claimed(self, attempt: int = 1) -> Claim:
        """Have the worker claim the job, for the `attempt`-th time."""
        self.put()
        for _ in range(attempt - 1):
            self.worker.claim().retry("DPAT is away", 0)
        self.claim = self.worker.claim()
        return self.claim

    def worker_dies(self) -> None:
        self.worker.die()
        self.worker = Process(self.root, self.clock, "work")

    def all_die(self) -> None:
        self.web.die()
        self.worker.die()


@dataclass(frozen=True)
class Scenario:
    """Something that the queue does: what was before, what is done, and in which states a death may leave the job."""

    name: str
    before: Callable[[Stage], object]
    act: Callable[[Stage], object]
    states: set[JobState]


def act_put(stage: Stage) -> None:
    stage.put()


def act_hold_note_release(stage: Stage) -> None:
    hold = stage.hold()
    stage.known.jobs.add(stage.job.id)
    hold.note({"id": 17, "version_id": "v1"})
    stage.known.results.append(17)
    hold.release()


def act_withdraw(stage: Stage) -> None:
    assert stage.held is not None
    stage.held.withdraw()
    stage.known.gone.add(stage.job.id)


def act_put_again(stage: Stage) -> None:
    assert stage.web.queue.put(stage.again).id == stage.job.id
    stage.known.token = NEWER_TOKEN
    stage.known.awake.add(stage.job.id)


def act_claim(stage: Stage) -> None:
    stage.worker.claim()


def act_finish(outcome: JobState) -> Callable[[Stage], None]:
    def act(stage: Stage) -> None:
        assert stage.claim is not None
        stage.claim.finish(outcome, "it is so", 1.5)
        stage.known.ended[stage.job.id] = outcome

    return act


def act_note_result(stage: Stage) -> None:
    assert stage.claim is not None
    stage.claim.note({"id": 17, "version_id": "v1"})
    stage.known.results.append(17)
    stage.claim.note({"id": 18, "version_id": "v1"})
    stage.known.results.append(18)


def act_retry(stage: Stage) -> None:
    assert stage.claim is not None
    stage.claim.retry("DPAT is away", 30.0)


def act_park(stage: Stage) -> None:
    assert stage.claim is not None
    stage.claim.park("no access")


def act_give_back(stage: Stage) -> None:
    assert stage.claim is not None
    stage.claim.give_back()


def act_cancel(stage: Stage) -> None:
    cancelled = stage.web.queue.cancel("c" * 40)
    assert cancelled is not None
    stage.known.cancelled.add(stage.job.id)
    if cancelled.record is not None:
        stage.known.ended[stage.job.id] = CANCELLED


def act_cancel_but_dpat_is_away(stage: Stage) -> None:
    cancelled = stage.web.queue.cancel("c" * 40, secret=NEWER_TOKEN, tell=lambda _: False)
    assert cancelled is not None
    assert cancelled.record is None
    stage.known.cancelled.add(stage.job.id)
    stage.known.awake.add(stage.job.id)
    stage.known.token = NEWER_TOKEN


def act_delete_the_result(stage: Stage) -> None:
    job = stage.job
    deleted = DeletedResult(job.address, job.app_id, job.slide_id, 17, whole_slide=True, shown_by=job.id)
    assert stop_deleted(stage.web.queue, deleted) == [job.id]
    stage.known.deleted.add(job.id)
    if stage.claim is None:
        stage.known.ended[job.id] = CANCELLED


def act_operator_retries(stage: Stage) -> None:
    stage.web.admin.retry(stage.job.id)
    stage.known.ended.clear()
    stage.known.awake.add(stage.job.id)


def act_look_for_work(stage: Stage) -> None:
    """Take over what the dead left, and claim it if that leaves it claimable."""
    stage.worker.source.claim()


def parked(stage: Stage) -> None:
    stage.claimed().park("no access")


def failed(stage: Stage) -> None:
    stage.claimed().finish(FAILED, "it is so")


def dead_holder(stage: Stage) -> None:
    stage.hold()
    stage.known.jobs.add(stage.job.id)
    stage.web.die()
    stage.web = Process(stage.root, stage.clock, "web")


def dead_worker(attempt: int) -> Callable[[Stage], None]:
    def before(stage: Stage) -> None:
        stage.claimed(attempt)
        stage.worker_dies()

    return before


def dead_while_ending(state: JobState) -> Callable[[Stage], None]:
    """Let a worker die after it has noted how the job ended, when the job is still `state`."""

    def before(stage: Stage) -> None:
        claim = stage.claimed()
        with in_place_of_os(CuttingOs(["open", "write", "close", "rename"].index("rename") + (state is E))):
            claim.finish(DONE, "it is so", 1.5)
        assert [name.state for _, name in on_disk(stage.root)] == [state]
        stage.known.ended[stage.job.id] = DONE
        stage.worker_dies()

    return before


def nothing(_: Stage) -> None:
    pass


SCENARIOS = [
    Scenario("a put", nothing, act_put, {A, W}),
    Scenario("hold, note the result, release", nothing, act_hold_note_release, {A, W}),
    Scenario("withdraw", Stage.hold, act_withdraw, {A}),
    Scenario("the same work put again", Stage.put, act_put_again, {W, A}),
    Scenario("the same work put again while it runs", Stage.claimed, act_put_again, {A}),
    Scenario("wake a parked job", parked, act_put_again, {P, W, A}),
    Scenario("claim", Stage.put, act_claim, {W, A}),
    Scenario("note results", Stage.claimed, act_note_result, {A}),
    *[Scenario(f"finish as {each}", Stage.claimed, act_finish(each), {A, E, each}) for each in sorted(ENDED)],
    Scenario("retry", Stage.claimed, act_retry, {A, P}),
    Scenario("park", Stage.claimed, act_park, {A, P}),
    Scenario("give back", Stage.claimed, act_give_back, {A, W}),
    Scenario("take over from a dead webserver", dead_holder, act_look_for_work, {A, W}),
    Scenario("take over from a dead worker", dead_worker(1), act_look_for_work, {A, W}),
    Scenario("take over and back off", dead_worker(3), act_look_for_work, {A, P}),
    Scenario("take over a job with its outcome noted", dead_while_ending(A), act_look_for_work, {A, E, DONE}),
    Scenario("take over an ending job", dead_while_ending(E), act_look_for_work, {E, DONE}),
    Scenario("cancel a waiting job", Stage.put, act_cancel, {W, A, E, CANCELLED}),
    Scenario("cancel a parked job", parked, act_cancel, {P, W, A, E, CANCELLED}),
    Scenario("cancel a running job", Stage.claimed, act_cancel, {A}),
    Scenario("cancel a waiting job while DPAT is away", Stage.put, act_cancel_but_dpat_is_away, {W, A}),
    Scenario("cancel a parked job while DPAT is away", parked, act_cancel_but_dpat_is_away, {P, W, A}),
    Scenario("delete the result of a waiting job", Stage.put, act_delete_the_result, {W, A, E, CANCELLED}),
    Scenario("delete the result of a running job", Stage.claimed, act_delete_the_result, {A}),
    Scenario("an operator's retry of a failed job", failed, act_operator_retries, {FAILED, W}),
    Scenario("an operator's retry of a parked job", parked, act_operator_retries, {P, W}),
]
each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name.replace(" ", "-"))


def on_disk(root: Path) -> list[tuple[Path, JobName]]:
    """Return every job's file, wherever it lies; a name that is no job's is a fault."""
    found = []
    for state in JobState:
        for path in (root / state).rglob("*"):
            if path.is_file():
                name = JobName.parse(state, path.name)
                assert name is not None, path
                found.append((path, name))
    return found


def play(scenario: Scenario, root: Path, cutting: Callable[[Path], CuttingOs]) -> tuple[Stage, CuttingOs]:
    """Do what the scenario does until it is cut, then let all its processes be dead."""
    stage = Stage(root)
    scenario.before(stage)
    with in_place_of_os(cutting(root)) as os_seen:
        scenario.act(stage)
    stage.all_die()
    return stage, os_seen


def must_recover(scenario: Scenario, root: Path, stage: Stage, *, results_last: bool) -> None:
    """Check what a death has left in `root`, then bring every job to its end with fresh processes, and check that."""
    known = stage.known
    found = on_disk(root)
    assert len({name.job_id for _, name in found}) == len(found), "a job is in two places"
    assert {name.state for _, name in found} <= scenario.states | ({CANCELLED} if known.gone else set())
    assert known.jobs <= {name.job_id for _, name in found}, "an acknowledged job is lost"
    for path, name in found:
        if not never_acknowledged(path, name, known):
            assert parse_record(path.read_bytes()).job.id == name.job_id
    stage.clock.move(1)
    processes = [Process(root, stage.clock, "work") for _ in range(2)]
    try:
        drain(processes, stage, results_last=results_last)
        if not_asked_for := [name for _, name in on_disk(root) if name.state is P]:
            assert not {name.job_id for name in not_asked_for} & known.awake, "a job sleeps on that was woken"
            assert processes[0].queue.put(stage.again).id == stage.job.id
            drain(processes, stage, results_last=results_last)
        must_be_at_rest(root, known)
        stage.clock.move(2 * DAY_S)
        processes[0].admin.purge(CENTURY_S)
        must_hold_no_token(root, processes)
    finally:
        for each in processes:
            each.die()


def never_acknowledged(path: Path, name: JobName, known: Known) -> bool:
    """Return whether a file is what is left of a put that died while it wrote: nobody waits for that job."""
    cut_off = name.state is A and name.attempt == 0 and b"\n" not in path.read_bytes()
    return cut_off and name.job_id not in known.jobs


def drain(processes: list[Process], stage: Stage, *, results_last: bool) -> None:
    """Claim and finish until nothing is left; two workers at a time, and never one job for both."""
    known = stage.known
    for _ in range(ROUNDS):
        claims = [claim for each in processes for _ in range(2) if (claim := each.source.claim()) is not None]
        ids = [claim.job.id for claim in claims]
        assert len(set(ids)) == len(ids), "a job is claimed twice"
        assert not set(ids) & (known.ended.keys() | known.gone), "a job runs that has ended"
        for claim in claims:
            must_know_all(claim, known, results_last=results_last)
            must_be_known_by_its_keys(claim, processes[0].queue)
            claim.finish(CANCELLED if claim.cancel_wanted() or claim.unwanted() else DONE)
        if processes[0].source.unfinished() == 0:
            return
        stage.clock.move(3600)
    pytest.fail(f"jobs that nobody can claim are left: {[str(name) for _, name in on_disk(stage.root)]}")


def must_know_all(claim: Claim, known: Known, *, results_last: bool) -> None:
    claim.check()
    assert claim.cancel_wanted() or claim.job.id not in known.cancelled
    assert claim.unwanted() or claim.job.id not in known.deleted
    if known.token:
        assert claim.secret() == known.token
    if results_last:
        noted = [each.noted["id"] for each in claim.record.events if isinstance(each, Noted)]
        assert noted[: len(known.results)] == known.results


def must_be_known_by_its_keys(claim: Claim, queue: FileQueue) -> None:
    """Check that the same work asked for again, or its cancellation, would find the job."""
    keys = [key for key in (claim.job.key, claim.job.cancellation_key) if key is not None]
    assert [record and record.job.id for record in map(queue.disk.aliases.live, keys)] == [claim.job.id] * len(keys)


def must_be_at_rest(root: Path, known: Known) -> None:
    """Check that every job has ended, once, and as the world was told; and that its file says how."""
    found = on_disk(root)
    ids = [name.job_id for _, name in found]
    assert len(set(ids)) == len(ids)
    assert known.jobs <= set(ids)
    for path, name in found:
        assert name.state in ENDED
        assert name.state == known.ended.get(name.job_id, name.state)
        assert name.state is CANCELLED or name.job_id not in known.cancelled | known.gone
        # An operator who died over a retry may have noted more behind it.
        ends = [each for each in parse_record(path.read_bytes()).events if isinstance(each, Ended)]
        assert ends[-1].outcome == name.state
    assert not list((root / "damaged").iterdir())


def must_hold_no_token(root: Path, processes: list[Process]) -> None:
    for path in root.rglob("*"):
        if path.is_file() and path.name not in {f"{each.id}.lock" for each in processes}:
            assert not _TOKEN.search(path.read_bytes()), f"{path} holds a token"
    left = [path for folder in ("tmp", "notes") for path in (root / folder).iterdir()]
    assert not left + list((root / "aliases").glob("*/*"))


@each_scenario
@pytest.mark.parametrize("half", [False, True], ids=["between-two-steps", "in-the-middle-of-a-write"])
def test_a_death_at_any_step_loses_nothing(scenario: Scenario, half: bool, tmp_path: Path) -> None:
    _, whole = play(scenario, tmp_path / "whole", lambda _: CuttingOs())
    assert whole.calls
    cuts = [*range(len(whole.calls) + 1)]
    for cut_at in (each for each in cuts if not half or whole.calls[each : each + 1] == ["write"]):
        root = tmp_path / f"cut-{cut_at}"
        stage, seen = play(scenario, root, lambda _: CuttingOs(cut_at, half=half))  # noqa: B023 - called at once
        assert len(seen.calls) == cut_at
        must_recover(scenario, root, stage, results_last=True)


@each_scenario
def test_a_loss_of_power_at_any_step_loses_nothing(scenario: Scenario, tmp_path: Path) -> None:
    _, whole = play(scenario, tmp_path / "whole", lambda _: CuttingOs())
    for cut_at in [*(at for at, call in enumerate(whole.calls) if call in LASTING), len(whole.calls)]:
        journals: list[Journal] = []

        def cutting(root: Path, cut_at: int = cut_at, journals: list[Journal] = journals) -> CuttingOs:
            journals.append(Journal(root))
            return CuttingOs(cut_at, journal=journals[0])

        most = None
        names = -1
        while most is None or names < most:
            # Each disk is brought to its end, so each needs a stage of its own.
            root = tmp_path / f"cut-{cut_at}-{names}"
            journals.clear()
            stage, _ = play(scenario, root / "lost", cutting)
            names = journals[0].synced if most is None else names + 1
            most = len(journals[0].names)
            journals[0].write_to(root / "left", names)
            must_recover(scenario, root / "left", stage, results_last=False)
