"""Whatever lies in a queue directory in a job's place, the jobs beside it run, and it is set aside with a reason."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from slidehook.jobs.files import durable
from slidehook.jobs.files.admin import FileQueueAdmin
from slidehook.jobs.files.claimers import lock_at, new_claimer_id
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import ORPHANED_WAIT_S, FileSource
from slidehook.jobs.files.waiting import Shard
from slidehook.jobs.job import Job, JobState
from tests.jobs.making import DAY_S, Clock, make_job


class Site:
    """A queue with a webserver and a worker."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = Clock()
        self.web = FileQueue(root, "web", clock=self.clock)
        self.work = FileQueue(root, "work", clock=self.clock)
        self.source = FileSource(self.work, max_attempts=3, take_over_every_s=0)

    def waits(self, job: Job) -> Path:
        """Put a job, and give its file."""
        self.web.put(job)
        (path,) = (each for each in (self.root / "waiting").rglob(f"{job.id}.*") if each.is_file())
        return path

    def works(self, looks: int = 20) -> list[str]:
        """Have the worker do all that there is, while time goes on; returns the slides of the jobs that it ended."""
        done = []
        for _ in range(looks):
            while (claim := self.source.claim()) is not None:
                done.append(claim.job.slide_id)
                claim.finish(JobState.DONE, "found", 1.0)
            self.clock.move(ORPHANED_WAIT_S)
        return done

    def damaged(self) -> list[str]:
        return [each.name.partition(".")[2] for each in (self.root / "damaged").iterdir()]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "queue")
    yield site
    site.source.close()
    site.web.close()
    site.work.close()


def another_app(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"app_id":"tissue-area"', b'"app_id":"wholeslide"'))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").touch()


def link_to_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def link_to_a_job(path: Path) -> None:
    path.rename(path.parent.parent / "aside")
    path.symlink_to("../aside")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def listener(path: Path) -> None:
    path.unlink()
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(path.parent)  # a socket's path may not be as long as this one
        with socket.socket(socket.AF_UNIX) as here:
            here.bind(path.name)
    finally:
        os.fchdir(before)
        os.close(before)


def enormous(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(durable.MOST_BYTES + 1)


def wrong_types(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"priority":5', b'"priority":[]'))


def deep(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b'{"event":' + b"[" * 100_000 + b"}\n")


def unknown_event(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b'{"event":"eaten","at":1}\n')


def not_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00" * 100 + b"\n")


FAULTS: list[Callable[[Path], None]] = [
    another_app,
    folder,
    link_to_nowhere,
    link_to_a_job,
    pipe,
    listener,
    enormous,
    wrong_types,
    deep,
    unknown_event,
    not_text,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_job_is_set_aside_with_a_reason_and_the_others_run(
    site: Site, fault: Callable[[Path], None]
) -> None:
    first = make_job(slide_id="S-1")
    fault(site.waits(first))
    site.waits(make_job(slide_id="S-2"))
    with capture_logs() as logged:
        assert site.works() == ["S-2"]
    (name,) = site.damaged()
    assert name.startswith(first.id)
    (line,) = (each for each in logged if each["event"] == "set aside as damaged")
    assert line["file"].endswith(f".{name}")
    assert line["reason"]
    assert list((site.root / "active").iterdir()) == []


@pytest.mark.parametrize("mode", [0o000, 0o200, 0o400], ids=oct)
def test_a_file_that_may_not_be_opened_is_tried_again_and_in_the_end_set_aside(site: Site, mode: int) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may open every file")
    first = make_job(slide_id="S-1")
    site.waits(first).chmod(mode)
    site.waits(make_job(slide_id="S-2"))
    assert site.works() == ["S-2"]
    (name,) = site.damaged()
    assert ".a4." in name


def test_a_file_that_may_be_opened_again_runs(site: Site) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may open every file")
    site.waits(make_job(slide_id="S-1")).chmod(0)
    assert site.source.claim() is None
    (parked,) = (site.root / "parked").iterdir()
    parked.chmod(0o600)
    assert site.works() == ["S-1"]


def test_names_beyond_ascii_and_text_are_passed_over_everywhere(site: Site) -> None:
    for place in ("waiting", "parked", "active", "ending", "notes", "beats", "claimers", "tmp", "aliases"):
        (site.root / place / "größe\N{SNOWMAN}").touch()
        (Path(os.fsdecode(os.fsencode(site.root / place) + b"/\xff\xfe.p5.x.a1"))).touch()
    path = site.waits(make_job(slide_id="S-1"))
    (Path(os.fsdecode(os.fsencode(path.parent) + b"/\xff\xfe.p5.x.a1"))).touch()
    assert site.works() == ["S-1"]
    FileQueueAdmin(site.work).purge(0)


def test_a_lane_takes_names_that_are_no_text() -> None:
    assert Shard(0, 1).has(os.fsdecode(b"\xff\xfe"))


def test_an_attempts_number_stays_within_its_name(site: Site) -> None:
    path = site.waits(make_job(slide_id="S-1"))
    path.rename(path.with_name(path.name.replace(".a0", ".a999999")))
    claim = site.source.claim()
    assert claim is not None
    assert claim.exhausted
    claim.finish(JobState.FAILED, "gave up")
    assert len(list((site.root / "failed").rglob("*.a999999"))) == 1


@pytest.mark.parametrize("content", [b"\xff\xfe", None], ids=["no text", "folder"])
def test_a_token_that_can_not_be_read_is_passed_over(site: Site, content: bytes | None) -> None:
    job = make_job(slide_id="S-1")
    site.waits(job)
    note = site.root / "notes" / f"{job.id}.{site.clock():016x}.token"
    note.mkdir() if content is None else note.write_bytes(content)
    claim = site.source.claim()
    assert claim is not None
    assert claim.secret() == job.secret
    claim.finish(JobState.DONE, "found", 1.0)
    assert len(list((site.root / "done").rglob(f"{job.id}.*"))) == 1


@pytest.mark.parametrize("empty", [True, False])
def test_a_folder_in_an_aliases_place_bars_nobody(site: Site, empty: bool) -> None:
    job = make_job(slide_id="S-1")
    path = site.root / "aliases" / job.key[:2] / job.key
    path.mkdir(parents=True)
    if not empty:
        (path / "something").touch()
    site.waits(job)
    assert site.works() == ["S-1"]


def test_a_file_in_the_place_of_a_days_folder_is_set_aside(site: Site) -> None:
    site.waits(make_job(slide_id="S-1"))
    claim = site.source.claim()
    assert claim is not None
    days = site.root / "done"
    claim.finish(JobState.DONE, "found", 1.0)
    (day,) = days.iterdir()
    day.rename(site.root / "moved")
    day.touch()
    site.waits(make_job(slide_id="S-2"))
    assert site.works(1) == ["S-2"]
    assert site.damaged() == [day.name]


@pytest.mark.parametrize("state", ["active", "ending"])
def test_a_claimer_whose_lock_is_a_folder_hinders_nobody(site: Site, state: str) -> None:
    job = make_job(slide_id="S-1")
    path = site.waits(job)
    nobody = new_claimer_id("work").replace(site.work.claimer.id.split("-")[-3], "000000000000")
    Path(lock_at(site.root, nobody).lock_file).mkdir()
    end = f".{nobody}" + (".done" if state == "ending" else "")
    path.rename(site.root / state / f"{path.name}{end}")
    site.waits(make_job(slide_id="S-2"))
    assert site.works(3) == ["S-2"]


def test_folders_where_files_belong_end_no_purge(site: Site) -> None:
    site.waits(make_job(slide_id="S-1"))
    assert site.works(1) == ["S-1"]
    (ended,) = (each for each in (site.root / "done").rglob("*.a1"))
    (ended.parent / make_job().id).with_suffix(".p5.wholeslide.a1").mkdir()
    (site.root / "notes" / f"{make_job().id}.{0:016x}.token").mkdir()
    site.clock.move(30 * DAY_S)
    os.utime(ended, (0, 0))
    FileQueueAdmin(site.work).purge(0)
    assert not ended.exists()
