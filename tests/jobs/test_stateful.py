"""Random histories of a queue that three processes share, each step held against a simple model of what must be.

`SLIDEHOOK_STATEFUL_EXAMPLES` sets the number of histories, drawn anew each time; without it the same ones are
played in every run of the tests, as many as that can afford.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from slidehook.errors import ClaimLost, IllegalTransition
from slidehook.jobs.contract import Cancelled, JobNotFound
from slidehook.jobs.files.admin import FileQueueAdmin
from slidehook.jobs.files.names import JobName
from slidehook.jobs.files.queue import FileHold, FileQueue
from slidehook.jobs.files.source import FileClaim, FileSource
from slidehook.jobs.job import ENDED, Ended, Job, JobState, Noted, digest, parse_record
from slidehook.jobs.rules import DEATH_BACKOFF, NEVER_NS
from tests.jobs.making import NS, make_job

EXAMPLES = os.environ.get("SLIDEHOOK_STATEFUL_EXAMPLES")
EXAMPLES_HERE = 75
STEPS = 80
LEAST_STEPS = 3000
MAX_ATTEMPTS = 1
START_NS = 2_000_000_000 * NS
"""In the year 2033: every file that is really written seems old enough to be purged."""
CENTURY_S = 100 * 365 * 86400.0

LIVE = frozenset({JobState.WAITING, JobState.ACTIVE, JobState.PARKED})
ROLES = ("web", "work", "work")
SITES = st.integers(0, len(ROLES) - 1)
WORKS = st.sampled_from([0, 0, 0, 1, 2])
"""0: a new slide; else one that was asked for before."""
PRIORITIES = st.integers(4, 6)
PICKS = st.integers(0, 1000)
HOLD_USES = st.sampled_from(["release", "note_result_while_held", "withdraw"])
CLAIM_USES = st.sampled_from(
    [
        *[("look_at_a_claim",), ("note_result",), ("give_back",)],
        *[("park",)] * 3,
        *[("retry", delay_s) for delay_s in (0, 30, 3600)],
        *[("finish", outcome) for outcome in (JobState.DONE, JobState.CANCELLED, JobState.FAILED, JobState.FAILED)],
    ]
)
OPERATIONS = st.sampled_from(["cancel_by_id", "operator_cancels", *["operator_retries"] * 4])
_TOKEN = re.compile(rb"token-\d+-end")

T = TypeVar("T", FileHold, FileClaim)


@dataclass
class Known:
    """What the model knows of a job."""

    job: Job
    state: JobState
    attempt: int = 0
    claimer: str | None = None
    wake_ns: int | None = None
    token: str | None = None
    token_notes: int = 0
    cancel_noted: bool = False
    results: list[int | str] = field(default_factory=list)

    @property
    def order(self) -> tuple[int, str]:
        return self.job.priority, self.job.id

    @property
    def place(self) -> tuple[JobState, int, str | None, int | None]:
        return self.state, self.attempt, self.claimer, self.wake_ns

    def wait(self, *, attempt: int | None = None) -> None:
        self.state, self.claimer, self.wake_ns = JobState.WAITING, None, None
        self.attempt = self.attempt if attempt is None else attempt

    def park(self, wake_ns: int) -> None:
        self.state, self.claimer, self.wake_ns = JobState.PARKED, None, wake_ns

    def end(self, state: JobState) -> None:
        self.state, self.claimer, self.wake_ns = state, None, None
        self.token, self.token_notes, self.cancel_noted = None, 0, False


@dataclass
class Grip(Generic[T]):
    """A hold or a claim as somebody keeps it, who may be dead by now, or have lost it."""

    of: T
    job_id: str
    claimer: str
    attempt: int
    token_notes: int = 0
    """How many tokens had come for the job when it was last asked for one."""


class Process:
    """One process at the queue."""

    def __init__(self, machine: QueueMachine, role: str) -> None:
        self.queue = FileQueue(machine.root, role, clock=lambda: machine.now_ns)
        self.source = FileSource(self.queue, max_attempts=MAX_ATTEMPTS, take_over_every_s=0)
        self.admin = FileQueueAdmin(self.queue)
        self.id = self.queue.claimer.id

    def die(self) -> None:
        """Let go of the lock as the kernel does, and of no job."""
        self.source.close()
        self.queue.close()


class QueueMachine(RuleBasedStateMachine):
    """Does one thing after the other with a queue and with its model."""

    def __init__(self, root: Path, seen: Counter[str]) -> None:
        super().__init__()
        self.root = root
        self.seen = seen
        self.now_ns = START_NS
        self.serial = 0
        self.known: dict[str, Known] = {}
        self.joined: list[Job] = []
        self.by_key: dict[str, str] = {}
        self.by_token: dict[str, str] = {}
        self.holds: list[Grip[FileHold]] = []
        self.claims: list[Grip[FileClaim]] = []
        self.processes: list[Process] = []

    @initialize()
    def start(self) -> None:
        self.processes = [Process(self, role) for role in ROLES]

    def teardown(self) -> None:
        for process in self.processes:
            process.die()

    # --- what there is to choose from

    def twin(self, job: Job) -> Known | None:
        return next((each for each in self.known.values() if each.job.key == job.key and each.state in LIVE), None)

    def known_by(self, key: str) -> Known | None:
        known = self.known.get(self.by_key.get(key, ""))
        return known if known is not None and known.state in LIVE else None

    def owned(self, grip: Grip[T]) -> Known | None:
        """Return the job that a grip still has hold of."""
        known = self.known.get(grip.job_id)
        theirs = (JobState.ACTIVE, grip.attempt, grip.claimer, None)
        return known if known is not None and known.place == theirs else None

    # --- putting

    def new_job(self, work: int, priority: int, *, cancellable: bool = True, older_s: int = 0) -> Job:
        """Make a request: for a new slide, or for one that was asked for before, best one that sleeps."""
        self.serial += 1
        asleep = sorted(known.job.slide_id for known in self.known.values() if known.wake_ns == NEVER_NS)
        before = asleep or sorted({known.job.slide_id for known in self.known.values()})
        return make_job(
            before[work % len(before)] if work and before else f"S-{self.serial}",
            priority=priority,
            made_ns=self.now_ns - older_s * NS,
            cancellation_key=digest(f"cancellation {self.serial}") if cancellable else None,
            token=f"token-{self.serial}-end",
        )

    def remember(self, job: Job, fresh: Known) -> bool:
        """Tell the model of a job that was just given to the queue; False when it joined another."""
        twin = self.twin(job)
        if twin is None:
            self.known[job.id] = fresh
        else:
            self.seen["joined"] += 1
            self.joined.append(job)
            twin.token_notes += 1
            if twin.wake_ns == NEVER_NS:
                self.seen["woken by a request"] += 1
                twin.wait()
        does = twin or fresh
        does.token = job.secret
        self.by_token[job.secret] = does.job.id
        does.cancel_noted = False
        if job.cancellation_key and self.known_by(job.cancellation_key) is None:
            self.by_key[job.cancellation_key] = does.job.id
        return twin is None

    @rule(site=SITES, work=WORKS, priority=PRIORITIES, older_s=st.integers(0, 3), cancellable=st.booleans())
    def put(self, site: int, work: int, priority: int, older_s: int, cancellable: bool) -> None:
        job = self.new_job(work, priority, cancellable=cancellable, older_s=older_s)
        expected = self.twin(job)
        does = self.processes[site].queue.put(job)
        assert does.id == (expected.job.id if expected else job.id)
        self.remember(job, Known(job, JobState.WAITING))

    @rule(site=SITES, work=WORKS, priority=PRIORITIES)
    def hold(self, site: int, work: int, priority: int) -> None:
        self.do_hold(self.processes[site], self.new_job(work, priority))

    @precondition(lambda self: self.joined)
    @rule(site=SITES, number=PICKS)
    def hold_what_was_joined_before(self, site: int, number: int) -> None:
        """Do as a webserver does whose request joined work that was taken back."""
        job = self.joined.pop(number % len(self.joined))
        if job.id not in self.known:
            self.do_hold(self.processes[site], job)

    def do_hold(self, process: Process, job: Job) -> None:
        expected = self.twin(job)
        hold = process.queue.hold(job)
        assert (hold.coalesced, hold.job.id) == (expected is not None, expected.job.id if expected else job.id)
        if self.remember(job, Known(job, JobState.ACTIVE, 0, process.id)):
            self.holds.append(Grip(hold, job.id, process.id, 0))

    @precondition(lambda self: self.holds)
    @rule(number=PICKS, use=HOLD_USES)
    def use_a_hold(self, number: int, use: str) -> None:
        grip = self.holds.pop(number % len(self.holds))
        getattr(self, use)(grip, self.owned(grip))

    def release(self, grip: Grip[FileHold], known: Known | None) -> None:
        if known is None:
            self.must_be_lost(grip.of.release)
        else:
            grip.of.release()
            known.wait()

    def note_result_while_held(self, grip: Grip[FileHold], known: Known | None) -> None:
        self.note(grip, known)
        self.holds.append(grip)

    def withdraw(self, grip: Grip[FileHold], known: Known | None) -> None:
        if known is None:
            self.must_be_lost(grip.of.withdraw)
        else:
            grip.of.withdraw()
            del self.known[grip.job_id]
            self.seen["withdrawn"] += 1

    # --- working

    @rule(site=SITES, uses=st.lists(CLAIM_USES, max_size=2))
    def work(self, site: int, uses: list[tuple[Any, ...]]) -> None:
        """Claim a job, and do at once what a worker does with it."""
        had = len(self.claims)
        self.claim(site)
        for use in uses:
            if len(self.claims) > had:
                self.use_a_claim(had, use, keep=False)

    @rule(site=SITES)
    def claim(self, site: int) -> None:
        process = self.processes[site]
        backing_off = self.before_a_claim()
        expected = min(
            (each for each in self.known.values() if each.state is JobState.WAITING), key=_order, default=None
        )
        claim = process.source.claim()
        self.read_wakes(backing_off)
        if expected is None:
            assert claim is None
            return
        assert claim is not None
        assert claim.job == expected.job.model_copy(update={"secret": claim.job.secret})
        expected.state, expected.claimer = JobState.ACTIVE, process.id
        expected.attempt += 1
        assert claim.attempt == expected.attempt
        assert claim.exhausted == (expected.attempt > MAX_ATTEMPTS)
        assert [each.noted["id"] for each in claim.record.events if isinstance(each, Noted)] == expected.results
        self.claims.append(Grip(claim, expected.job.id, process.id, claim.attempt))
        self.seen["claimed"] += 1
        self.seen["exhausted"] += claim.exhausted

    def before_a_claim(self) -> list[Known]:
        """Wake sleepers and take over from the dead, as any claim does first; returns those that must back off."""
        alive = {each.id for each in self.processes}
        backing_off = []
        for known in self.known.values():
            if known.wake_ns is not None and known.wake_ns <= self.now_ns:
                known.wait()
                self.seen["woken by time"] += 1
            elif known.state is JobState.ACTIVE and known.claimer not in alive:
                self.seen["taken over"] += 1
                known.wait()
                if known.attempt > 1:
                    known.park(0)
                    backing_off.append(known)
        return backing_off

    def read_wakes(self, backing_off: list[Known]) -> None:
        """Learn how long the jobs wait that killed their workers: chance has a part in it."""
        for known in backing_off:
            names = [JobName.parse(JobState.PARKED, each.name) for each in (self.root / "parked").iterdir()]
            (known.wake_ns,) = [name.wake_ns for name in names if name is not None and name.job_id == known.job.id]
            assert known.wake_ns is not None
            about_s = DEATH_BACKOFF.first_s * 2 ** (known.attempt - 2)
            assert 0.5 * about_s <= (known.wake_ns - self.now_ns) / NS <= 1.5 * about_s
            self.seen["backs off"] += 1

    @precondition(lambda self: self.claims)
    @rule(number=PICKS, use=CLAIM_USES, keep=st.booleans())
    def use_any_claim(self, number: int, use: tuple[Any, ...], keep: bool) -> None:
        self.use_a_claim(number, use, keep=keep)

    def use_a_claim(self, number: int, use: tuple[Any, ...], *, keep: bool) -> None:
        grip = self.claims.pop(number % len(self.claims))
        what, *arguments = use
        known = self.owned(grip)
        getattr(self, what)(grip, known, *arguments)
        given_up = known is not None and self.owned(grip) is None
        if given_up:
            grip.claimer = "nobody"  # even if its process has the job again, that is another claim
        if known is not None and (keep or not given_up):
            self.claims.append(grip)

    def look_at_a_claim(self, grip: Grip[FileClaim], known: Known | None) -> None:
        if known is None:
            self.must_be_lost(grip.of.check)
        else:
            grip.of.check()
            assert grip.of.secret() == known.token
            assert grip.of.cancel_wanted() == known.cancel_noted
            grip.token_notes = known.token_notes

    def note_result(self, grip: Grip[FileClaim], known: Known | None) -> None:
        self.note(grip, known)

    def note(self, grip: Grip[T], known: Known | None) -> None:
        self.serial += 1
        if known is None:
            self.must_be_lost(lambda: grip.of.note({"id": self.serial, "version_id": "v1"}))
        else:
            grip.of.note({"id": self.serial, "version_id": "v1"})
            known.results.append(self.serial)

    def retry(self, grip: Grip[FileClaim], known: Known | None, delay_s: int) -> None:
        if known is None:
            self.must_be_lost(lambda: grip.of.retry("DPAT is away", delay_s))
        else:
            grip.of.retry("DPAT is away", delay_s)
            known.park(self.now_ns + delay_s * NS)

    def park(self, grip: Grip[FileClaim], known: Known | None) -> None:
        if known is None:
            self.must_be_lost(lambda: grip.of.park("no access"))
        else:
            grip.of.park("no access")
            known.attempt -= 1
            if grip.token_notes == known.token_notes:
                known.park(NEVER_NS)
            else:
                self.seen["not parked, as a token had come"] += 1
                known.wait()

    def give_back(self, grip: Grip[FileClaim], known: Known | None) -> None:
        if known is None:
            self.must_be_lost(grip.of.give_back)
        else:
            grip.of.give_back()
            known.wait(attempt=known.attempt - 1)

    def finish(self, grip: Grip[FileClaim], known: Known | None, outcome: JobState) -> None:
        if known is None:
            self.must_be_lost(lambda: grip.of.finish(outcome))
        else:
            grip.of.finish(outcome, "it is so", 1.5)
            known.end(outcome)
            self.seen[outcome.value] += 1

    @rule(site=SITES)
    def crash(self, site: int) -> None:
        """Let a process die with all that it has, and another start in its place."""
        self.processes[site].die()
        self.processes[site] = Process(self, ROLES[site])

    @rule(seconds=st.sampled_from([1, 10, 3600, 200_000]))
    def time_passes(self, seconds: int) -> None:
        self.now_ns += seconds * NS

    # --- stopping, and what an operator does

    @precondition(lambda self: self.by_key)
    @rule(site=SITES, number=PICKS)
    def cancel_by_token(self, site: int, number: int) -> None:
        key = sorted(self.by_key)[number % len(self.by_key)]
        self.cancelled(self.known_by(key), self.processes[site].queue.cancel(key))
        self.forget_dead_key(key)

    def forget_dead_key(self, key: str) -> None:
        """Do as the queue does when it comes across the alias of a job that has ended."""
        if self.known_by(key) is None:
            self.by_key.pop(key, None)

    @precondition(lambda self: self.known)
    @rule(site=SITES, number=PICKS, what=OPERATIONS)
    def operate(self, site: int, number: int, what: str) -> None:
        failed = sorted(key for key, each in self.known.items() if each.state is JobState.FAILED)
        # Failed jobs are few: half of the retries are of one, if there is one.
        among = failed if failed and number % 2 and what == "operator_retries" else sorted(self.known)
        known = self.known[among[number % len(among)]]
        getattr(self, what)(self.processes[site], known)

    def cancel_by_id(self, process: Process, known: Known) -> None:
        live = known if known.state in LIVE else None
        self.cancelled(live, process.queue.cancel_job(known.job.id))

    def cancelled(self, known: Known | None, answer: Cancelled | None) -> None:
        if known is None:
            assert answer is None
            return
        assert answer is not None
        assert answer.job_id == known.job.id
        if known.state is JobState.ACTIVE:
            assert answer.record is None
            known.cancel_noted = True
            self.seen["cancel noted"] += 1
        else:
            assert answer.record is not None
            known.end(JobState.CANCELLED)
            self.seen["cancelled at once"] += 1

    def operator_cancels(self, process: Process, known: Known) -> None:
        admin = process.admin
        if known.state in LIVE:
            self.cancelled(known, admin.cancel(known.job.id))
        else:
            with pytest.raises(IllegalTransition):
                admin.cancel(known.job.id)

    def operator_retries(self, process: Process, known: Known) -> None:
        admin = process.admin
        twin = self.twin(known.job)
        if known.state is JobState.PARKED or (known.state is JobState.FAILED and twin is None):
            summary = admin.retry(known.job.id)
            assert (summary.job_id, summary.state, summary.attempt) == (known.job.id, JobState.WAITING, 0)
            self.seen[f"retried when {known.state}"] += 1
            known.wait(attempt=0)
            if known.job.cancellation_key:
                self.by_key[known.job.cancellation_key] = known.job.id
        else:
            with pytest.raises(IllegalTransition):
                admin.retry(known.job.id)
            self.seen[f"not retried when {known.state}"] += 1

    @rule(site=SITES, everything=st.booleans())
    def operator_purges(self, site: int, everything: bool) -> None:
        ended = [each.job.id for each in self.known.values() if each.state in ENDED]
        admin = self.processes[site].admin
        purged = admin.purge(0.0 if everything else CENTURY_S)
        assert purged.jobs == (len(ended) if everything else 0)
        if everything:
            for job_id in ended:
                del self.known[job_id]
                with pytest.raises(JobNotFound):
                    admin.find(job_id)
        for key in list(self.by_key):
            self.forget_dead_key(key)

    # --- what must hold after each step

    def must_be_lost(self, change: object) -> None:
        assert callable(change)
        with pytest.raises(ClaimLost):
            change()
        self.seen["claim lost"] += 1

    @invariant()
    def every_job_is_in_its_one_place(self) -> None:
        self.now_ns += 1000
        self.seen["steps"] += 1
        if not self.processes:
            return
        found = self.jobs_on_disk()
        assert {job_id: place for job_id, (place, _) in found.items()} == {
            job_id: known.place for job_id, known in self.known.items()
        }
        self.check_files(found)
        self.check_aliases(found)
        self.check_tokens()
        self.check_counts()
        self.let_folders_age()

    def jobs_on_disk(self) -> dict[str, tuple[tuple[JobState, int, str | None, int | None], Path]]:
        found: dict[str, tuple[tuple[JobState, int, str | None, int | None], Path]] = {}
        for state in JobState:
            for path in (self.root / state).rglob("*"):
                if path.is_file():
                    name = JobName.parse(state, path.name)
                    assert name is not None, f"{path} is not a job's name"
                    assert name.job_id not in found, f"{path} and {found[name.job_id]} are one job"
                    found[name.job_id] = (state, name.attempt, name.claimer, name.wake_ns), path
        return found

    def check_files(self, found: dict[str, tuple[tuple[JobState, int, str | None, int | None], Path]]) -> None:
        assert not [*(self.root / "tmp").iterdir(), *(self.root / "damaged").iterdir()]
        for job_id, (place, path) in found.items():
            record = parse_record(path.read_bytes())
            assert record.job.id == job_id
            assert record.ended == (place[0] in ENDED)
            if isinstance(last := record.events[-1] if record.events else None, Ended):
                assert last.outcome == place[0]

    def check_aliases(self, found: dict[str, tuple[tuple[JobState, int, str | None, int | None], Path]]) -> None:
        """A live job is known by its work and its cancellation keys; whatever else is there leads to an ended one."""
        keys = {known.job.key: job_id for job_id, known in self.known.items() if known.state in LIVE}
        keys |= {key: job_id for key, job_id in self.by_key.items() if self.known_by(key) is not None}
        there = {path.name: path for path in (self.root / "aliases").glob("*/*")}
        for key, job_id in keys.items():
            assert there.pop(key).samefile(found[job_id][1])
        for path in there.values():
            assert parse_record(path.read_bytes()).ended

    def check_tokens(self) -> None:
        live = {job_id for job_id, known in self.known.items() if known.state in LIVE}
        for path in self.root.rglob("*"):
            if path.is_file() and path.suffix != ".lock":
                for token in _TOKEN.findall(path.read_bytes()):
                    assert self.by_token[token.decode()] in live, f"{path} holds the token of a job that has ended"

    def check_counts(self) -> None:
        counts = self.processes[0].admin.counts()
        assert {state: counts[state] for state in JobState if counts.get(state)} == Counter(
            known.state for known in self.known.values()
        )
        asleep = sum(known.wake_ns == NEVER_NS for known in self.known.values())
        live = sum(known.state in LIVE for known in self.known.values())
        assert self.processes[0].source.unfinished() == live - asleep

    def let_folders_age(self) -> None:
        """Wait for the next tick of the file system's clock: what shows by a folder's time shows from then on."""
        probe = self.root.with_suffix(".tick")
        probe.touch()
        before_ns = probe.stat().st_mtime_ns
        while probe.stat().st_mtime_ns == before_ns:
            probe.touch()


SEEN = (
    "joined",
    "woken by a request",
    "woken by time",
    "withdrawn",
    "claimed",
    "exhausted",
    "taken over",
    "backs off",
    "claim lost",
    "done",
    "failed",
    "cancelled",
    "cancel noted",
    "cancelled at once",
    "not parked, as a token had come",
    "retried when failed",
    "retried when parked",
    "not retried when active",
    "not retried when cancelled",
)
"""What must have happened somewhere in the histories."""


def _order(known: Known) -> tuple[int, str]:
    return known.order


@pytest.mark.timeout(600)  # a failure takes minutes to be brought down to its shortest history
def test_any_history_of_three_processes_keeps_every_job_in_its_one_place(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()

    def machine() -> QueueMachine:
        seen["histories"] += 1
        return QueueMachine(tmp_path / f"queue-{seen['histories']}", seen)

    run_state_machine_as_test(
        machine,  # type: ignore[arg-type]
        settings=settings(
            max_examples=int(EXAMPLES or EXAMPLES_HERE),
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=EXAMPLES is None,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    assert seen["steps"] >= LEAST_STEPS
    for what in SEEN:
        assert seen[what], f"no history had a job that was {what}: {seen}"
