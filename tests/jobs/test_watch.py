"""New work is noticed: at once on a local disk, by looking again on a share."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from slidehook.jobs.files.layout import Layout
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.watch import POLL_FIRST_S, POLL_MOST_S, QueueWatch, file_system_of
from tests.jobs.making import make_job

PUTS = 50
NOTICED_S = 0.1
AT_ONCE_S = 60.0
MOUNTS = r"""
/dev/sda1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
//nas/queue /srv/queue cifs rw,vers=3.1.1 0 0
//nas/images /mnt/my\040slides cifs rw 0 0
tmpfs /srv/queue/local tmpfs rw 0 0
server:/export /srv/queue2 nfs4 rw 0 0
//nas/again /srv/twice cifs rw 0 0
/dev/sdb1 /srv/twice xfs rw 0 0
""".strip()


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[FileQueue]:
    queue = FileQueue(tmp_path / "queue", "web")
    yield queue
    queue.close()


@pytest.fixture
def watch(queue: FileQueue) -> Iterator[QueueWatch]:
    watch = QueueWatch(queue.layout)
    yield watch
    watch.close()


@pytest.fixture
def share(queue: FileQueue, monkeypatch: pytest.MonkeyPatch) -> Iterator[QueueWatch]:
    """A watch that takes the queue for one on a share."""
    monkeypatch.setattr("slidehook.jobs.files.watch.file_system_of", lambda path, mounts: "cifs")
    watch = QueueWatch(queue.layout)
    yield watch
    watch.close()


def settle(watch: QueueWatch) -> None:
    """Let pass what the kernel has to tell of earlier changes."""
    began = time.monotonic()
    watch.wait(0.03)
    while time.monotonic() - began < 0.025:
        began = time.monotonic()
        watch.wait(0.03)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/queue", "ext4"),
        ("/", "ext4"),
        ("/srv/queue", "cifs"),
        ("/srv/queue/deep/down", "cifs"),
        ("/srv/queue/local", "tmpfs"),
        ("/srv/queue2/x", "nfs4"),
        ("/srv/queue-of-others", "ext4"),
        ("/mnt/my slides/queue", "cifs"),
        ("/srv/twice/queue", "xfs"),
    ],
)
def test_the_innermost_mount_says_which_file_system_holds_a_path(path: str, kind: str) -> None:
    assert file_system_of(Path(path), MOUNTS) == kind


def test_a_path_below_no_mount_is_on_an_unknown_file_system() -> None:
    assert file_system_of(Path("/srv"), "") == "unknown"


def test_a_local_directory_is_not_taken_for_a_share(watch: QueueWatch) -> None:
    assert not watch.remote


def test_a_put_is_noticed_within_100_ms(queue: FileQueue, watch: QueueWatch) -> None:
    took: list[float] = []
    for _ in range(PUTS):
        settle(watch)
        put_at: list[float] = []

        def put(times: list[float] = put_at) -> None:
            queue.put(make_job())
            times.append(time.monotonic())

        putting = threading.Timer(0.005, put)
        putting.start()
        watch.wait(120)
        noticed = time.monotonic()
        putting.join()
        took.append(noticed - put_at[0])

    # On a machine that is busy with other things, any single one may take long.
    assert sorted(took)[PUTS // 4] < NOTICED_S
    assert max(took) < AT_ONCE_S


def test_a_put_before_the_wait_is_noticed(queue: FileQueue, watch: QueueWatch) -> None:
    settle(watch)
    queue.put(make_job())
    began = time.monotonic()

    watch.wait(120)

    assert time.monotonic() - began < AT_ONCE_S


def test_the_first_wait_after_work_returns_soon_for_another_look(watch: QueueWatch) -> None:
    settle(watch)
    watch.busy()
    began = time.monotonic()

    watch.wait(120)

    assert time.monotonic() - began < AT_ONCE_S


def test_who_works_is_not_told_of_what_happens_meanwhile(queue: FileQueue, watch: QueueWatch) -> None:
    settle(watch)
    watch.busy()
    queue.put(make_job())
    watch.wait(60)
    began = time.monotonic()

    watch.wait(0.2)

    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("error", [OSError("OS file watch limit reached."), RuntimeError("no more")])
def test_who_can_not_watch_looks_again_soon_and_says_so_once(
    watch: QueueWatch, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("slidehook.jobs.files.watch.log", structlog.get_logger())
    with monkeypatch.context() as patched, capture_logs() as said:
        patched.setattr("watchfiles.watch", refuse)
        began = time.monotonic()
        for _ in range(3):
            watch.wait(60)
        assert 3 * POLL_FIRST_S <= time.monotonic() - began < AT_ONCE_S
    assert [each["reason"] for each in said] == [str(error)]

    watch.wait(60)  # there is a watch again
    began = time.monotonic()
    watch.wait(0.2)
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize("timeout_s", [0.0, 0.0001, 0.0004, 0.03])
def test_a_wait_ends_after_its_time_however_short(watch: QueueWatch, timeout_s: float) -> None:
    settle(watch)
    began = time.monotonic()
    late = threading.Timer(100, watch.close)  # or else this test would last for ever
    late.start()

    watch.wait(timeout_s)

    late.cancel()
    assert timeout_s <= time.monotonic() - began < AT_ONCE_S


def test_a_share_is_looked_at_again_and_ever_more_seldom(share: QueueWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    now = [0.0]

    def sleep(timeout: float | None = None) -> bool:
        waited.append(timeout or 0)
        now[0] += (timeout or 0) + 1e-6
        return False

    monkeypatch.setattr(share._stop, "wait", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for _ in range(12):
        share.wait(60)
    idle = waited.copy()
    share.busy()
    share.wait(60)

    assert share.remote
    assert idle[0] == POLL_FIRST_S
    assert idle == sorted(idle)
    assert idle[-1] == POLL_MOST_S < 2
    assert waited[-1] == POLL_FIRST_S


def test_a_wait_at_a_share_is_no_longer_than_asked_for(share: QueueWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float | None] = []

    def sleep(timeout: float | None = None) -> bool:
        waited.append(timeout)
        return False

    monkeypatch.setattr(share._stop, "wait", sleep)

    share.wait(0.01)

    assert waited == [0.01]


def test_a_watch_at_a_directory_that_is_a_link_looks_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    layout = Layout(tmp_path / "link")
    watch = QueueWatch(layout)
    settle(watch)
    queue = FileQueue(tmp_path / "real", "web")
    queue.put(make_job())
    began = time.monotonic()

    watch.wait(120)

    assert time.monotonic() - began < AT_ONCE_S
    queue.close()
    watch.close()
