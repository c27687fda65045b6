"""What only the queue on disk has: damaged files, foreign files, and what dead processes left."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slidehook.errors import JobDamaged
from slidehook.jobs.contract import JobNotFound
from slidehook.jobs.files.admin import FileQueueAdmin
from slidehook.jobs.files.layout import FOLDERS
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import FileClaim, FileSource
from slidehook.jobs.job import JobState
from tests.jobs.making import DAY_S, Clock, make_job

WEEK_S = 7 * DAY_S


class Site:
    """A queue directory, a worker at it and an operator."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = Clock()
        self.queue = FileQueue(root, "work", clock=self.clock)
        self.source = FileSource(self.queue, max_attempts=3, take_over_every_s=0)
        self.admin = FileQueueAdmin(self.queue)

    def claim(self) -> FileClaim:
        claim = self.source.claim()
        assert claim is not None
        return claim

    def done(self, slide_id: str = "a") -> Path:
        """Bring a job to its end; returns its file."""
        self.queue.put(make_job(slide_id))
        claim = self.claim()
        claim.finish(JobState.DONE)
        return Path(self.admin.find(claim.job.id)[0])

    def files(self) -> set[str]:
        return {str(each.relative_to(self.root)) for each in self.root.rglob("*") if each.is_file()}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "queue")
    yield site
    site.source.close()
    site.queue.close()


def litter(root: Path) -> list[Path]:
    """Lay foreign files and folders into every folder; returns them."""
    folders = [root, *(each for each in root.rglob("*") if each.is_dir())]
    made = []
    for folder in folders:
        for name in (".DS_Store", "Thumbs.db"):
            made.append(folder / name)
            made[-1].write_bytes(b"foreign")
        made.append(folder / "lost+found")
        made[-1].mkdir()
        made.append(made[-1] / "x")
        made[-1].touch()
    for each in made:
        os.utime(each, (0, 0))
    return made


def test_foreign_files_everywhere_are_not_counted_and_harm_nothing(site: Site) -> None:
    site.queue.put(make_job("parked"))
    site.claim().park("no access")
    site.queue.put(make_job("active", cancellation_key="ab" * 20))
    active = site.claim()
    site.done("done")
    site.queue.put(make_job("waiting"))
    before = {key: count for key, count in site.admin.counts().items() if key != "damaged"}
    foreign = [each for each in litter(site.root) if each.parent.name != "tmp"]  # that is the queue's to clear

    counts = site.admin.counts()

    assert {key: count for key, count in counts.items() if key != "damaged"} == before
    assert site.source.unfinished() == 2
    assert len(list(site.admin.list())) == 4
    assert site.queue.hold(make_job("active")).coalesced
    assert site.claim().job.slide_id == "waiting"
    active.finish(JobState.FAILED, "no tissue")
    site.admin.retry(active.job.id)
    assert site.claim().job.id == active.job.id
    site.clock.move(8 * DAY_S)
    assert site.admin.purge(WEEK_S).jobs == 1
    assert [each for each in foreign if not each.exists()] == []


def test_a_damaged_job_is_shown_as_such(site: Site) -> None:
    path = site.done()
    path.write_bytes(b"\0" * 50)

    with pytest.raises(JobDamaged):
        site.admin.show(path.name[:25])


def test_a_damaged_job_is_purged_like_any_other(site: Site) -> None:
    site.done().write_bytes(b"")
    site.clock.move(8 * DAY_S)

    assert site.admin.purge(WEEK_S).jobs == 1


def test_a_job_that_goes_on_between_finding_and_reading_is_not_found(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = site.done()
    found = site.admin.find(path.name[:25])
    path.unlink()
    monkeypatch.setattr(site.admin, "find", lambda job_id: found)

    with pytest.raises(JobNotFound, match="look again"):
        site.admin.show(path.name[:25])


def test_nothing_but_the_lock_and_the_beat_is_left_after_a_purge(site: Site) -> None:
    for slide in "abc":
        site.done(slide)
    site.clock.move(8 * DAY_S)

    purged = site.admin.purge(WEEK_S)

    assert purged.jobs == 3
    assert {each.partition("/")[0] for each in site.files()} == {"FORMAT", "claimers", "beats"}
    assert not any((site.root / "done").iterdir())


def test_a_purge_removes_what_dead_processes_left(site: Site) -> None:
    dead = "web-far-000000000000-1-0000000a"
    job = make_job("a")
    left = {
        site.root / "tmp" / "half-written",
        site.root / "claimers" / f"{dead}.lock",
        site.root / "beats" / f"{dead}.7",
        site.root / "notes" / f"{job.id}.{1:016x}.token",
    }
    for each in left:
        each.touch()
        os.utime(each, (0, 0))
    fresh = site.root / "tmp" / "being-written"
    fresh.touch()

    assert site.admin.purge(WEEK_S).leftovers == len(left)

    assert [each for each in left if each.exists()] == []
    assert fresh.exists()


def test_a_purge_removes_the_aliases_that_coalesced_requests_left(site: Site) -> None:
    site.queue.put(make_job("a"))
    site.queue.hold(make_job("a", cancellation_key="ab" * 20))
    site.claim().finish(JobState.DONE)
    assert [each for each in site.files() if each.startswith("aliases/")]

    site.admin.purge(WEEK_S)

    assert not [each for each in site.files() if each.startswith("aliases/")]


def test_the_claimer_of_a_running_job_keeps_its_lock_through_a_purge(site: Site) -> None:
    site.queue.put(make_job("a"))
    claim = site.claim()
    for folder in ("claimers", "beats"):
        for each in (site.root / folder).iterdir():
            os.utime(each, (0, 0))

    site.admin.purge(0)

    claim.check()
    assert any(each.startswith(f"claimers/{site.queue.claimer.id}") for each in site.files())


def test_a_purge_goes_by_the_time_of_the_end_not_of_the_making(site: Site) -> None:
    old = make_job("a", made_ns=time.time_ns() - round(30 * DAY_S * 1e9))
    site.queue.put(old)
    site.claim().finish(JobState.DONE)

    assert site.admin.purge(WEEK_S).jobs == 0


def test_an_ended_job_lies_below_the_day_of_its_end(site: Site) -> None:
    site.clock.now_ns = 1_900_000_000 * 10**9

    assert site.done().parent == site.root / "done" / "2030-03-17"


def test_the_listing_can_be_broken_off(site: Site) -> None:
    for slide in "abc":
        site.queue.put(make_job(slide))
    listing = site.admin.list()

    first = next(listing)
    site.claim()

    assert first.state is JobState.WAITING
    assert len([*listing]) == 2


def test_every_folder_of_the_queue_is_there(site: Site) -> None:
    assert {each.name for each in site.root.iterdir() if each.is_dir()} == set(FOLDERS)
