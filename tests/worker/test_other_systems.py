"""The worker's own loop on systems that are not DPAT."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from slidehook.apps.wholeslide import WholeSlideDemo
from slidehook.errors import AccessExpired, Gone, Refused, SlidehookError, SystemUnavailable
from slidehook.folder.destination import FolderDestination, LocalWork
from slidehook.jobs.job import Job, JobRecord, JobState, new_job_id
from slidehook.jobs.memory import MemoryQueue
from slidehook.memory_system import MemorySystem, Progress
from slidehook.models import WholeSlideInput
from slidehook.registry.registry import load_apps
from slidehook.settings import Settings
from slidehook.systems import Done, Failed, Systems
from worker.context import WorkerContext
from worker.loop import Worker
from worker.shutdown import Interruption
from worker.workspace import Workspace

SLIDE = "immuno"
SECRET = "the-secret"


@dataclass
class House:
    """A queue and a system in memory, and a worker between them."""

    queue: MemoryQueue
    system: MemorySystem
    worker: Worker

    def put(self, *, system: str = "memory", address: str = "here", app_id: str = "wholeslide") -> Job:
        job = Job(
            id=new_job_id(time.time_ns()),
            app_id=app_id,
            slide_id=SLIDE,
            created_at=time.time(),
            trigger="manual",
            input=WholeSlideInput(),
            system=system,
            address=address,
            secret=SECRET,
        )
        self.queue.sink().hold(job).release()
        return job

    def work(self) -> None:
        """Work on what is waiting; a job that is parked for a newer secret does not count."""
        self.worker.run(drain=True)

    def record(self, job: Job) -> tuple[JobState, JobRecord]:
        summary, record = self.queue.admin().show(job.id)
        return summary.state, record


@pytest.fixture
def house(tmp_path: Path, sample_slides: Path) -> Iterator[House]:
    settings = Settings(_env_file=None, demo_seconds=0, data_dir=tmp_path / "data", min_free_gb=0)
    system, queue, leaving = MemorySystem(), MemoryQueue(), Interruption()
    system.add(SLIDE, sample_slides / f"{SLIDE}.tiff")
    system.secrets = {SECRET}
    systems = Systems(settings, pause=leaving.pause, opened={"memory": system})
    context = WorkerContext(settings, load_apps(settings), systems, Workspace(settings.data_dir, "me"), leaving)
    worker = Worker(context, queue.source(), upkeep=lambda: None, drop_dead=lambda: None)
    yield House(queue, system, worker)
    worker._child().kill()


@pytest.mark.parametrize("app_id", ["wholeslide", "tissue"])
def test_a_job_of_the_system_in_memory_is_analysed_and_shown(house: House, app_id: str) -> None:
    job = house.put(app_id=app_id)
    house.work()
    state, record = house.record(job)
    (result,) = house.system.of(job.id)
    assert isinstance(result.shows[0], Progress)
    assert isinstance(result.now, Done)
    assert (state, record.events[-1].model_dump()["reason"]) == (JobState.DONE, result.now.result.text)


def test_a_job_of_a_folder_is_analysed_and_its_result_lies_beside_the_slide(
    house: House, tmp_path: Path, sample_slides: Path
) -> None:
    slide = tmp_path / "slides" / f"{SLIDE}.tiff"
    slide.parent.mkdir()
    slide.write_bytes((sample_slides / slide.name).read_bytes())
    job = house.put(system="folder", address=str(slide))
    house.work()
    assert house.record(job)[0] is JobState.DONE
    app = house.worker._context.registry["wholeslide"]
    result = FolderDestination(slide.parent / f"{SLIDE}-wholeslide", LocalWork(app.id, SLIDE), app).shown()
    assert result == house.record(job)[1].events[-1].model_dump()["reason"]
    assert slide.is_file()


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (SystemUnavailable("out of order"), JobState.PARKED, "out of order"),
        (AccessExpired("not yet"), JobState.PARKED, "access was refused, and asked for anew since: not yet"),
        (Gone("no such slide"), JobState.FAILED, "no such slide"),
        (Refused("not for you"), JobState.FAILED, "not for you"),
    ],
)
def test_four_errors_decide_what_becomes_of_a_job(
    house: House, error: SlidehookError, state: JobState, reason: str
) -> None:
    job = house.put()
    house.system.fail(error, method="info")
    claim = house.queue.source().claim()
    assert claim is not None
    house.worker._work(claim)
    now, record = house.record(job)
    assert (now, record.events[-1].model_dump()["reason"]) == (state, reason)
    (result,) = house.system.of(job.id)
    assert isinstance(result.now, Failed if state is JobState.FAILED else Progress)


def test_a_job_without_a_valid_secret_waits_for_a_newer_one(house: House) -> None:
    house.system.secrets = {"another"}
    job = house.put()
    house.work()
    state, record = house.record(job)
    assert state is JobState.PARKED
    assert record.events[-1].model_dump()["reason"].startswith("waiting for access: ")
    house.system.secrets.add("newer")
    house.queue.sink().join(job.model_copy(update={"secret": "newer"}))
    house.work()
    assert house.record(job)[0] is JobState.DONE


def test_a_job_of_a_system_that_is_not_installed_fails_with_one_sentence(house: House) -> None:
    job = house.put(system="elsewhere")
    house.work()
    state, record = house.record(job)
    assert state is JobState.FAILED
    assert record.events[-1].model_dump()["reason"] == "there is no system 'elsewhere' on this host"


def test_an_author_may_run_an_app_on_the_system_in_memory_without_a_worker(sample_slides: Path) -> None:
    system = MemorySystem()
    system.add(SLIDE, sample_slides / f"{SLIDE}.tiff", label=b"a picture")
    app = WholeSlideDemo()
    app.settings = Settings(_env_file=None, demo_seconds=0)
    result = system.run(app, SLIDE)
    assert isinstance(result.shows[0], Progress)
    assert isinstance(result.now, Done)
    assert result.now.result.text == "ANSWER: 42"
    system.remove(SLIDE)
    with pytest.raises(Gone):
        system.run(app, SLIDE)
