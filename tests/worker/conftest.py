"""A little DPAT, a claimed job, and the demo app's child process."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import FileSource
from slidehook.jobs.job import Job, new_job_id
from slidehook.models import ImageInfo, Size, WholeSlideInput
from slidehook.settings import Settings
from tests.iaapi.conftest import client, dpat, server
from tests.iaapi.little_dpat import LittleDpat
from worker.shutdown import Interruption

__all__ = ["client", "dpat", "server"]


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    data_dir = tmp_path_factory.mktemp("data")
    return Settings(_env_file=None, demo_seconds=0, read_timeout="20s", data_dir=data_dir, min_free_gb=0)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[FileQueue]:
    queue = FileQueue(tmp_path / "queue", "work")
    yield queue
    queue.close()


@pytest.fixture
def source(queue: FileQueue) -> Iterator[FileSource]:
    source = FileSource(queue, max_attempts=3)
    yield source
    source.close()


@pytest.fixture
def job(dpat: LittleDpat) -> Job:
    return Job(
        id=new_job_id(1),
        app_id="wholeslide",
        slide_id="S-1",
        created_at=0,
        trigger="user",
        input=WholeSlideInput(),
        system="dpat",
        address=dpat.url,
        image_info=ImageInfo(id="S-1", image_size=Size(width=2000, height=1000)),
        secret="the-token",
    )


@pytest.fixture
def leaving() -> Iterator[Interruption]:
    """The wish to leave, heard by this process."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    leaving = Interruption()
    leaving.listen()
    yield leaving
    for number, handler in before.items():
        signal.signal(number, handler)
