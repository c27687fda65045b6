"""Full disks, missing rights, damaged files, other versions, clocks that jump: nothing is lost, and others go on."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slidehook.dpat.deleted_result import DeletedResult
from slidehook.errors import QueueError
from slidehook.jobs.files import durable
from slidehook.jobs.files.admin import FileQueueAdmin
from slidehook.jobs.files.claimers import BEAT_S
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import FileClaim, FileSource
from slidehook.jobs.job import Ended, JobState, parse_record
from tests.jobs.making import DAY_S, NS, Clock, make_job
from tests.stopping import stop_deleted

AS_NOBODY = "os.getuid() == 0 and os.setuid(65534)"
"""Root may write whatever the rights say."""
HOUR_S = 3600.0
SMALL_FILE_BYTES = 100
PUT = """
import encodings.ascii  # later it may be out of reach
import os, resource, signal, sys
from pathlib import Path
from slidehook.errors import QueueError
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.job import parse_record
job = parse_record(sys.stdin.buffer.read()).job
{before}
try:
    FileQueue(Path(), "web").put(job)
except QueueError as error:
    print(error)
else:
    print("put")
"""


class Site:
    """A queue directory with a webserver and a worker."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = Clock()
        self.web = FileQueue(root, "web", clock=self.clock)
        self.work = FileQueue(root, "work", clock=self.clock)
        self.source = FileSource(self.work, max_attempts=3, take_over_every_s=0)
        self.admin = FileQueueAdmin(self.web)

    def claim(self) -> FileClaim:
        claim = self.source.claim()
        assert claim is not None
        return claim

    def files(self, folder: str = "") -> list[Path]:
        own = {"FORMAT", "claimers", "beats"}
        found = [each for each in (self.root / folder).rglob("*") if each.is_file()]
        return [each for each in found if each.relative_to(self.root).parts[0] not in own]

    def close(self) -> None:
        self.source.close()
        self.web.close()
        self.work.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path / "queue")
    yield site
    site.close()


class Disk:
    """Makes the disk full after so many bytes of each writing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self._real = durable._write_all

    def fill(self, bytes_left: int = 0) -> None:
        def full(fd: int, content: bytes) -> None:
            os.write(fd, content[:bytes_left])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        self._monkeypatch.setattr(durable, "_write_all", full)

    def free(self) -> None:
        self._monkeypatch.setattr(durable, "_write_all", self._real)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def put_in_child(root: Path, before: str) -> str:
    """Put a job in a process of its own; returns what it says."""
    done = subprocess.run(
        [sys.executable, "-c", PUT.format(before=before)],
        cwd=root,  # from here another user needs no right to the folders above
        input=make_job("child").to_line(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


# --- a full disk


@pytest.mark.parametrize("bytes_left", [0, 50])
def test_a_job_that_does_not_fit_on_the_disk_is_refused_and_leaves_nothing(
    site: Site, disk: Disk, bytes_left: int
) -> None:
    disk.fill(bytes_left)
    with pytest.raises(QueueError, match="No space left"):
        site.web.hold(make_job("a"))
    assert site.files() == []

    disk.free()
    site.web.put(make_job("a"))

    assert site.claim().job.slide_id == "a"


@pytest.mark.parametrize("full", ["aliases.link", "aliases.make_dir", "durable.sync_dir"])
@pytest.mark.parametrize("to_the_last_byte", [False, True])
def test_a_job_that_can_not_be_made_known_is_refused_and_leaves_nothing(
    site: Site, disk: Disk, monkeypatch: pytest.MonkeyPatch, full: str, to_the_last_byte: bool
) -> None:
    written = durable._write_all

    def once(fd: int, content: bytes) -> None:
        written(fd, content)
        if to_the_last_byte:
            disk.fill()

    def refuse(*_: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(durable, "_write_all", once)
    with monkeypatch.context() as patched:
        patched.setattr(f"slidehook.jobs.files.{full}", refuse)
        with pytest.raises(QueueError, match="No space left"):
            site.web.hold(make_job("a", cancellation_key="c" * 40))
    disk.free()

    assert site.files() == []
    site.web.put(make_job("a", cancellation_key="c" * 40))
    assert site.claim().job.slide_id == "a"


def test_what_can_not_be_read_is_no_job_that_is_not_there(site: Site) -> None:
    job = make_job("a", cancellation_key="c" * 40)
    site.web.put(job)
    aliases = site.root / "aliases"
    aliases.rename(site.root / "away")
    aliases.symlink_to(aliases)  # as a share that is cut off: every look at it fails

    for look in (
        lambda: site.web.peek(job),
        lambda: site.web.cancel("c" * 40),
        lambda: stop_deleted(site.web, DeletedResult(job.address, job.app_id, job.slide_id, 1, whole_slide=True)),
        lambda: site.web.put(make_job("a")),
    ):
        with pytest.raises(QueueError, match="symbolic links"):
            look()


def test_a_file_that_may_not_grow_so_large_is_refused_and_leaves_nothing(site: Site) -> None:
    limit = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({SMALL_FILE_BYTES}, {SMALL_FILE_BYTES}))"
    before = f"signal.signal(signal.SIGXFSZ, signal.SIG_IGN); {limit}"

    said = put_in_child(site.root, before)

    assert said == "the queue can't take the job: File too large"
    assert site.files() == []


def test_a_request_whose_token_does_not_fit_is_refused_and_the_job_goes_on(site: Site, disk: Disk) -> None:
    site.web.put(make_job("a"))
    disk.fill()
    with pytest.raises(QueueError, match="No space left"):
        site.web.hold(make_job("a", token="token-2"))
    disk.free()

    assert site.claim().secret() == "token-1"


@pytest.mark.parametrize("bytes_left", [0, 1, 30])
def test_an_event_cut_off_by_a_full_disk_spoils_none_of_the_later_ones(
    site: Site, disk: Disk, bytes_left: int
) -> None:
    site.web.put(make_job("a"))
    claim = site.claim()
    claim.note({"id": 17, "version_id": 1})
    disk.fill(bytes_left)
    with pytest.raises(QueueError, match="No space left"):
        claim.note({"id": 17, "version_id": 2})
    disk.free()

    claim.note({"id": 17, "version_id": 3})
    claim.retry("again", 0)

    claim = site.claim()
    assert claim.last_reason == "again"
    assert claim.record.noted is not None
    assert claim.record.noted["version_id"] == 3
    claim.finish(JobState.DONE)
    assert site.admin.counts()["damaged"] == 0


@pytest.mark.parametrize("bytes_left", [0, 30])
def test_an_end_that_does_not_fit_on_the_disk_can_be_told_again(site: Site, disk: Disk, bytes_left: int) -> None:
    site.web.put(make_job("a"))
    claim = site.claim()
    disk.fill(bytes_left)
    with pytest.raises(QueueError, match="No space left"):
        claim.finish(JobState.DONE, "12 mm²")
    claim.check()
    disk.free()

    claim.finish(JobState.DONE, "12 mm²")

    _, record = site.admin.show(claim.job.id)
    assert isinstance(record.events[-1], Ended)
    assert not record.job.has_secret


@pytest.mark.parametrize("bytes_left", [0, 30])
def test_an_end_that_did_not_fit_on_the_disk_is_told_when_there_is_room(
    site: Site, disk: Disk, bytes_left: int
) -> None:
    """The worker lives on, so nobody else would ever take the job from it."""
    site.web.put(make_job("a"))
    job_id = site.claim().job.id
    site.work.close()
    claim = site.claim()
    disk.fill(bytes_left)
    with pytest.raises(QueueError, match="No space left"):
        claim.finish(JobState.FAILED, "no tissue")
    disk.free()

    assert site.source.claim() is None

    summary, record = site.admin.show(job_id)
    assert summary.state is JobState.FAILED
    assert record.events[-1].model_dump()["reason"] == "no tissue"


@pytest.mark.parametrize("bytes_left", [0, 30])
def test_a_job_whose_worker_died_on_a_full_disk_is_taken_over(site: Site, disk: Disk, bytes_left: int) -> None:
    site.web.put(make_job("a"))
    claim = site.claim()
    claim.note({"id": 17, "version_id": 1})
    disk.fill(bytes_left)
    with pytest.raises(QueueError):
        claim.finish(JobState.DONE)
    site.work.close()
    disk.free()

    again = site.claim()

    assert again.attempt == 2
    assert again.last_reason.startswith("the worker died")
    assert again.record.noted is not None


# --- missing rights


@pytest.mark.parametrize("step", ["release", "withdraw"])
def test_a_held_job_that_can_not_be_let_go_is_not_stuck_while_its_holder_lives(
    site: Site, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    hold = site.web.hold(make_job("S-17"))
    with monkeypatch.context() as patch:
        for name in ("rename", "append"):
            patch.setattr(f"slidehook.jobs.files.{'waiting' if name == 'rename' else 'owned_file'}.{name}", full)
        with pytest.raises(QueueError, match="No space left"):
            getattr(hold, step)()
        assert site.source.claim() is None
    until = time.monotonic() + 120
    while (claim := site.source.claim()) is None:
        assert time.monotonic() < until
        site.source.wait(BEAT_S)
    assert claim.job.slide_id == "S-17"


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A queue directory that may be looked into but not changed."""
    root = tmp_path / "queue"
    FileQueue(root, "web").close()
    folders = [root, *(each for each in root.iterdir() if each.is_dir())]
    (root / "FORMAT").chmod(0o444)
    for each in folders:
        each.chmod(0o555)
    yield root
    for each in folders:
        each.chmod(0o700)


def test_a_directory_that_may_not_be_written_is_told_in_a_sentence(read_only: Path) -> None:
    said = put_in_child(read_only, AS_NOBODY)

    assert said.startswith("the queue can't")
    assert said.endswith("Permission denied")


def test_a_directory_that_may_not_be_read_is_told_in_a_sentence(read_only: Path) -> None:
    # In the child, which stands in the directory by then: an ordinary user could not enter it.
    said = put_in_child(read_only, f"os.chmod('.', 0); {AS_NOBODY}")

    assert said == "SLIDEHOOK_QUEUE_DIR: the queue directory . can't be used: Permission denied"


def test_everything_that_bears_a_token_is_private_whatever_the_mask(site: Site) -> None:
    mask = os.umask(0)
    try:
        for slide in ("waiting", "parked", "active", "failed"):
            site.web.put(make_job(slide))
        site.claim()
        site.claim().park("no access")
        site.claim()
        site.claim().finish(JobState.FAILED)
        site.web.hold(make_job("active", token="token-2"))
        site.web.hold(make_job("held"))
    finally:
        os.umask(mask)

    everything = list(site.root.rglob("*"))
    assert {each.stat().st_mode & 0o777 for each in everything if each.is_file()} == {0o600}
    assert {each.stat().st_mode & 0o777 for each in everything if each.is_dir()} == {0o700}
    assert len(site.files("notes")) == 1


# --- damage and other versions


def waiting_file(site: Site, slide_id: str) -> Path:
    """Put a job; returns its file."""
    job = site.web.put(make_job(slide_id))
    [path] = [each for each in site.files("waiting") if each.name.startswith(job.id)]
    return path


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"\0" * 400, b"{", make_job().to_line()[:50], make_job().to_line(), b"\x80\x81\n"],
    ids=["empty", "blank", "zeros", "brace", "cut", "another job's", "no text"],
)
def test_a_damaged_job_is_set_aside_and_the_others_run(site: Site, content: bytes) -> None:
    damaged = waiting_file(site, "a")
    waiting_file(site, "b")
    damaged.write_bytes(content)

    assert site.claim().job.slide_id == "b"

    [aside] = site.files("damaged")
    assert aside.read_bytes() == content
    assert damaged.name[:25] in aside.name
    assert site.admin.counts()["damaged"] == 1
    assert site.source.unfinished() == 1


def held_file(site: Site) -> Path:
    """Hold a job, and have its webserver die; returns its file."""
    site.web.hold(make_job("held"))
    site.web.close()  # its lock goes, its files stay
    [path] = site.files("active")
    return path


@pytest.mark.parametrize("kept", [0, 1, 200], ids=lambda each: f"{each}-bytes")
def test_what_is_left_of_a_put_that_died_while_it_wrote_is_removed(site: Site, kept: int) -> None:
    left = held_file(site)
    for each in site.files("aliases"):  # made only of a whole job
        each.unlink()
    os.truncate(left, kept)

    assert site.source.claim() is None

    assert site.files() == []


def test_what_is_left_of_an_acknowledged_job_is_set_aside_however_little(site: Site) -> None:
    os.truncate(held_file(site), 20)

    assert site.source.claim() is None

    assert len(site.files("damaged")) == 1


def test_a_whole_held_job_that_is_damaged_is_set_aside(site: Site) -> None:
    held_file(site).write_bytes(b"{}\n")

    assert site.source.claim() is None

    [aside] = site.files("damaged")
    assert aside.read_bytes() == b"{}\n"


def test_a_job_of_another_format_is_set_aside_and_the_others_run(site: Site) -> None:
    other = waiting_file(site, "a")
    waiting_file(site, "b")
    other.write_bytes(other.read_bytes().replace(b'"format":2', b'"format":3'))

    assert site.claim().job.slide_id == "b"
    assert site.admin.counts()["damaged"] == 1


@pytest.mark.parametrize("content", [b"", b"\0" * 400], ids=["empty", "zeros"])
def test_a_damaged_jobs_work_can_be_asked_for_again(site: Site, content: bytes) -> None:
    damaged = waiting_file(site, "a")
    damaged.write_bytes(content)
    assert site.source.claim() is None

    hold = site.web.hold(make_job("a"))

    assert not hold.coalesced
    hold.release()
    assert site.claim().job.slide_id == "a"


def test_a_damaged_job_whose_worker_died_is_set_aside(site: Site) -> None:
    site.web.put(make_job("a"))
    site.claim()
    site.work.close()
    [path] = site.files("active")
    path.write_bytes(b"\0" * 10 + b"\n")

    assert site.source.claim() is None
    assert site.admin.counts()["damaged"] == 1


def test_a_job_damaged_while_it_runs_can_still_be_ended(site: Site) -> None:
    site.web.put(make_job("a"))
    claim = site.claim()
    [path] = site.files("active")
    path.write_bytes(b"\0" * 10)

    claim.finish(JobState.DONE)

    assert site.files("active") == site.files("ending") == []
    assert site.admin.counts()["damaged"] == 1


def test_cancelling_a_damaged_job_ends_it(site: Site) -> None:
    damaged = waiting_file(site, "a")
    damaged.write_bytes(b"")

    cancelled = site.admin.cancel(damaged.name[:25])

    assert cancelled.record is None
    assert site.source.claim() is None
    assert site.admin.counts()["damaged"] == 1


def test_files_of_another_version_in_every_folder_are_passed_over(site: Site) -> None:
    for folder in (
        "waiting/5/0000000000000000",
        "active",
        "ending",
        "parked",
        "done/2030-01-01",
        "notes",
        "aliases/ab",
    ):
        (site.root / folder).mkdir(parents=True, exist_ok=True)
        (site.root / folder / "v2-some-job").write_bytes(b"{}\n")
    site.web.put(make_job("a"))

    assert site.claim().job.slide_id == "a"
    assert len(list(site.admin.list())) == 1
    assert site.source.unfinished() == 1


# --- clocks


@pytest.mark.parametrize("jump_s", [-HOUR_S, HOUR_S])
def test_no_job_is_lost_when_the_clock_jumps_and_later_ones_keep_their_order(site: Site, jump_s: float) -> None:
    for number in range(3):
        site.web.put(make_job(f"before-{number}", made_ns=site.clock() + number))
    site.clock.move(jump_s)
    for number in range(3):
        site.web.put(make_job(f"after-{number}", made_ns=site.clock() + number))

    taken = [site.claim().job.slide_id for _ in range(6)]

    assert site.source.claim() is None
    for when in ("before", "after"):
        assert [each for each in taken if each.startswith(when)] == [f"{when}-{number}" for number in range(3)]


def test_a_sleeping_job_wakes_though_the_clock_was_set_back(site: Site) -> None:
    site.web.put(make_job("a"))
    site.claim().retry("again", 30)

    site.clock.move(-HOUR_S)
    assert site.source.claim() is None
    site.clock.move(HOUR_S + 31)

    assert site.claim().attempt == 2


def test_a_sleeping_job_wakes_early_when_the_clock_was_set_forward(site: Site) -> None:
    site.web.put(make_job("a"))
    site.claim().retry("again", 30)

    site.clock.move(HOUR_S)

    assert site.claim().attempt == 2


def test_a_job_made_in_the_far_future_runs_too(site: Site) -> None:
    site.web.put(make_job("future", made_ns=site.clock() + round(50 * 365 * DAY_S * NS)))
    site.web.put(make_job("now"))

    assert [site.claim().job.slide_id, site.claim().job.slide_id] == ["now", "future"]


def test_a_job_ends_though_a_purge_removes_the_days_folder_just_then(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.web.put(make_job("a"))
    claim = site.claim()
    purged: list[str] = []

    def rename(source: str, target: str) -> None:
        day = Path(target).parent
        if day.parent.name == "done" and day.exists() and not purged:
            purged.append(target)
            day.rmdir()
        durable.rename(source, target)

    monkeypatch.setattr("slidehook.jobs.files.owned_file.rename", rename)
    claim.finish(JobState.DONE)

    assert purged
    assert site.admin.show(claim.job.id)[0].state is JobState.DONE


def test_a_job_file_is_valid_at_every_step_of_its_life(site: Site) -> None:
    """Whoever reads it at any moment, as a backup does, finds a whole job."""
    site.web.put(make_job("a"))
    seen = [parse_record(path.read_bytes()) for path in site.files("waiting")]
    claim = site.claim()
    claim.note({"id": 17, "version_id": 1})
    seen += [parse_record(path.read_bytes()) for path in site.files("active")]
    claim.finish(JobState.DONE)
    seen += [parse_record(path.read_bytes()) for path in site.files("done")]

    assert [len(each.events) for each in seen] == [0, 2, 3]
