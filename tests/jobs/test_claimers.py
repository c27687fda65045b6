"""Who is alive: locks, heartbeats, and who is declared dead."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slidehook.jobs.files.claimers import (
    Claimer,
    LivenessMonitor,
    lock_at,
    lock_is_free,
    new_claimer_id,
    purge_dead_claimers,
    rank,
    read_beats,
)
from slidehook.jobs.files.names import JobName
from slidehook.jobs.job import JobState, new_job_id

STILL_S = 10.0
FAR = "work-far-000000000000-1-0000000a"
"""A claimer under another kernel."""
FAR_TOO = "work-far-000000000000-2-0000000b"
DAY_S = 86400.0
CHILD = """
import sys
from pathlib import Path
from slidehook.jobs.files.claimers import Claimer
claimer = Claimer(Path(sys.argv[1]), "work")
print(claimer.id, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("claimers", "beats"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def claimer(root: Path) -> Iterator[Claimer]:
    claimer = Claimer(root, "work", beat_s=60)
    yield claimer
    claimer.close()


class Child:
    """A process of its own that is a claimer."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.id = self.process.stdout.readline().strip()

    def kill(self, *, reap: bool = True) -> None:
        self.process.kill()
        if reap:
            self.process.wait()
        else:
            until(lambda: lock_is_free(self.root, self.id))

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def child(root: Path) -> Iterator[Child]:
    child = Child(root)
    yield child
    child.close()


class Time:
    """Seconds that the test lets pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def until(true: Callable[[], bool]) -> None:
    """Wait for what another process or thread does."""
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def lay_out(root: Path, claimer: str, beat: int | None = 0, age_s: float = 0) -> None:
    """Leave what a claimer leaves that died under another kernel."""
    paths = [root / "claimers" / f"{claimer}.lock"]
    if beat is not None:
        paths.append(root / "beats" / f"{claimer}.{beat}")
    for path in paths:
        path.touch()
        os.utime(path, (time.time() - age_s, time.time() - age_s))


def left(root: Path) -> set[str]:
    return {each.name for folder in ("claimers", "beats") for each in (root / folder).iterdir()}


# --- one claimer


def test_a_claimers_lock_is_held_and_its_file_holds_nothing(root: Path, claimer: Claimer) -> None:
    assert not lock_is_free(root, claimer.id)
    assert (root / "claimers" / f"{claimer.id}.lock").stat().st_size == 0


def test_a_claimers_files_are_private(root: Path) -> None:
    mask = os.umask(0)
    try:
        claimer = Claimer(root, "work", beat_s=60)
    finally:
        os.umask(mask)
    modes = {each.stat().st_mode & 0o777 for folder in ("claimers", "beats") for each in (root / folder).iterdir()}
    claimer.close()

    assert modes == {0o600}


def test_nothing_is_left_of_a_claimer_that_goes_in_order(root: Path) -> None:
    Claimer(root, "work", beat_s=0.01).close()

    assert left(root) == set()


def test_a_claimer_beats_by_being_renamed_to_the_next_number(root: Path) -> None:
    claimer = Claimer(root, "work", beat_s=0.005)
    assert claimer.id in read_beats(root)

    until(lambda: read_beats(root).get(claimer.id, 0) >= 3)

    assert len([each for each in (root / "beats").iterdir() if each.name.startswith(claimer.id)]) <= 1
    claimer.close()


def test_a_beat_that_somebody_removed_comes_back(root: Path) -> None:
    claimer = Claimer(root, "work", beat_s=0.005)
    until(lambda: read_beats(root).get(claimer.id, 0) >= 1)
    for each in (root / "beats").iterdir():
        each.unlink(missing_ok=True)

    until(lambda: claimer.id in read_beats(root))
    claimer.close()


def test_a_claimer_beats_on_after_its_folder_was_away(root: Path) -> None:
    claimer = Claimer(root, "work", beat_s=0.005)
    (root / "beats").rename(root / "away")
    time.sleep(0.03)
    (root / "away").rename(root / "beats")
    before = read_beats(root).get(claimer.id, -1)

    until(lambda: read_beats(root).get(claimer.id, -1) > before)
    claimer.close()


def test_beats_are_read_past_foreign_files(root: Path) -> None:
    for name in (f"{FAR}.7", f"{FAR}.12", ".DS_Store", f"{FAR}.x", "a.1.2"):
        (root / "beats" / name).touch()

    assert read_beats(root) == {FAR: 12}


@pytest.mark.parametrize("host", ["nuc-7", "PATH01.hospital.example", "ä_ö", "", "-", "x" * 64, "a--b"])
def test_any_hosts_name_makes_a_claimers_name_that_fits_a_jobs(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    claimer = new_claimer_id("work")
    name = JobName(JobState.ACTIVE, new_job_id(1), 5, "nuclei", 1, claimer)

    assert JobName.parse(JobState.ACTIVE, str(name)) == name
    assert claimer.startswith("work-")
    assert new_claimer_id("work") != claimer


# --- the dead of this kernel


def test_a_living_process_is_not_dead(root: Path, child: Child) -> None:
    now = Time()
    liveness = LivenessMonitor(root, still_s=STILL_S, clock=now)

    for _ in range(3):
        assert liveness.dead({child.id}) == set()
        now.now += 2 * STILL_S


def test_a_killed_process_is_dead_at_once(root: Path, child: Child) -> None:
    child.kill()

    assert LivenessMonitor(root).dead({child.id}) == {child.id}


def test_a_killed_process_that_its_parent_does_not_care_for_is_dead_at_once(root: Path, child: Child) -> None:
    child.kill(reap=False)

    assert LivenessMonitor(root).dead({child.id}) == {child.id}


def test_a_process_that_was_stopped_is_not_dead(root: Path, child: Child) -> None:
    now = Time()
    liveness = LivenessMonitor(root, still_s=STILL_S, clock=now)
    os.kill(child.process.pid, signal.SIGSTOP)
    assert liveness.dead({child.id}) == set()

    now.now += 100 * STILL_S

    assert liveness.dead({child.id}) == set()


def test_a_claimer_of_this_very_process_is_dead_when_it_is_closed(root: Path, claimer: Claimer) -> None:
    other = Claimer(root, "work", beat_s=60)
    other.close()

    assert LivenessMonitor(root).dead({other.id, claimer.id}) == {other.id}


def test_a_free_lock_of_a_process_that_lives_is_not_enough(root: Path, child: Child) -> None:
    """As where somebody has removed the lock's file: then only the heartbeat tells."""
    (root / "claimers" / f"{child.id}.lock").unlink()

    assert LivenessMonitor(root).dead({child.id}) == set()


def test_nobody_is_dead_where_nobody_is_asked_about(root: Path) -> None:
    assert LivenessMonitor(root).dead(set()) == set()


# --- the dead elsewhere


def test_elsewhere_a_claimer_is_dead_when_its_beat_has_stood_still(root: Path) -> None:
    lay_out(root, FAR, beat=5)
    now = Time()
    liveness = LivenessMonitor(root, still_s=STILL_S, clock=now)

    found = []
    for _ in range(12):
        found.append(liveness.dead({FAR}))
        now.now += 1

    assert found == [set()] * 10 + [{FAR}] * 2


def test_elsewhere_a_claimer_whose_beat_goes_on_is_alive_though_its_lock_is_free(root: Path) -> None:
    lay_out(root, FAR, beat=0)
    now = Time()
    liveness = LivenessMonitor(root, still_s=STILL_S, clock=now)
    for number in range(20):
        assert liveness.dead({FAR}) == set()
        now.now += STILL_S * 0.9
        (root / "beats" / f"{FAR}.{number}").rename(root / "beats" / f"{FAR}.{number + 1}")

    assert liveness.dead({FAR}) == set()
    now.now += STILL_S
    assert liveness.dead({FAR}) == {FAR}


def test_elsewhere_a_claimer_whose_lock_is_held_is_alive_though_its_beat_stands_still(root: Path) -> None:
    lay_out(root, FAR)
    lock = lock_at(root, FAR)
    lock.acquire(blocking=False)
    now = Time()
    liveness = LivenessMonitor(root, still_s=STILL_S, clock=now)
    assert liveness.dead({FAR}) == set()
    now.now += 100 * STILL_S
    assert liveness.dead({FAR}) == set()
    lock.release()

    assert liveness.dead({FAR}) == set()
    now.now += STILL_S
    assert liveness.dead({FAR}) == {FAR}


def test_elsewhere_a_claimer_without_a_beat_is_dead_after_the_same_time(root: Path) -> None:
    lay_out(root, FAR, beat=None)
    now = Time()
    liveness = LivenessMonitor(root, still_s=STILL_S, clock=now)
    assert liveness.dead({FAR}) == set()

    now.now += STILL_S

    assert liveness.dead({FAR}) == {FAR}


def test_each_claimer_elsewhere_has_its_own_time(root: Path) -> None:
    lay_out(root, FAR)
    lay_out(root, FAR_TOO)
    now = Time()
    liveness = LivenessMonitor(root, still_s=STILL_S, clock=now)
    liveness.dead({FAR})
    now.now += STILL_S / 2
    assert liveness.dead({FAR, FAR_TOO}) == set()
    now.now += STILL_S / 2

    assert liveness.dead({FAR, FAR_TOO}) == {FAR}


# --- burying


def test_what_the_dead_left_is_removed_when_it_is_old(root: Path) -> None:
    lay_out(root, FAR, beat=3, age_s=2 * DAY_S)
    lay_out(root, FAR_TOO, beat=4, age_s=0)

    buried = set(purge_dead_claimers(root, set(), time.time() - DAY_S))

    assert buried == {FAR}
    assert left(root) == {f"{FAR_TOO}.lock", f"{FAR_TOO}.4"}


def test_the_dead_who_still_own_a_job_are_not_buried(root: Path) -> None:
    lay_out(root, FAR, beat=3, age_s=2 * DAY_S)

    assert set(purge_dead_claimers(root, {FAR}, time.time() - DAY_S)) == set()
    assert left(root) == {f"{FAR}.lock", f"{FAR}.3"}


def test_the_living_are_not_buried_however_old(root: Path, claimer: Claimer) -> None:
    for folder in ("claimers", "beats"):
        for each in (root / folder).iterdir():
            os.utime(each, (0, 0))
    before = left(root)

    assert set(purge_dead_claimers(root, set(), time.time() + DAY_S)) == set()
    assert left(root) == before


@pytest.mark.parametrize("folder", ["claimers", "beats"])
def test_foreign_files_and_folders_are_neither_buried_nor_in_the_way(root: Path, folder: str) -> None:
    lay_out(root, FAR, beat=3, age_s=2 * DAY_S)
    (root / folder / ".DS_Store").touch()
    (root / folder / "lost+found").mkdir()
    (root / folder / "notes.lock").touch()
    os.utime(root / folder / ".DS_Store", (0, 0))
    os.utime(root / folder / "lost+found", (0, 0))
    os.utime(root / folder / "notes.lock", (0, 0))

    assert set(purge_dead_claimers(root, set(), time.time() - DAY_S)) == {FAR}
    assert left(root) == {".DS_Store", "lost+found", "notes.lock"}


def test_claimers_of_one_role_agree_on_who_is_the_how_manieth(root: Path) -> None:
    ids = [new_claimer_id("work") for _ in range(5)]
    for each in [*ids, new_claimer_id("web")]:
        lock_at(root, each).acquire()

    ranks = [rank(root, each) for each in ids]

    assert sorted(ranks) == [(index, 5) for index in range(5)]
    assert [number for number, _ in sorted(zip(ranks, ids, strict=True))] == [
        rank(root, each) for each in sorted(ids)
    ]


def test_a_claimer_whose_lock_file_somebody_took_away_is_alone(root: Path) -> None:
    lock_at(root, new_claimer_id("work")).acquire()

    assert rank(root, new_claimer_id("work")) == (0, 1)
