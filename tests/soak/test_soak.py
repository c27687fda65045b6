"""A whole site under fire: its processes are killed at random while requests come, and nothing acknowledged is lost.

`SLIDEHOOK_SOAK_SECONDS` says how long it takes about, its end included; `SLIDEHOOK_SOAK_SEED` sets the chances as
they were in another run.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slidehook.jobs.files.admin import FileQueueAdmin
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.job import JobState
from slidehook.jobs.rules import LIVE
from tests.e2e.conftest import APP, Dpat, Site, running_site
from tests.e2e.running import Program, files_below, living, wait_for

SOAK_S = float(os.environ.get("SLIDEHOOK_SOAK_SECONDS", "20"))
SEED = int(os.environ.get("SLIDEHOOK_SOAK_SEED", random.SystemRandom().randrange(1 << 32)))
FIRE_SHARE = 0.6
"""The part of the time in which processes are killed; in the rest the queue runs empty."""
WORKERS = 3
SENDERS = 2
DRAIN_S = 180.0
LEAST = 3
"""How many kills and acknowledged requests make a run that says anything."""


@dataclass
class Sent:
    """What was asked for."""

    acknowledged: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    """No answer came, as the webserver was dead or died over it: such a slide may be analysed, or not."""


class Sender(threading.Thread):
    """Asks for one slide after the other, as a user and as a scanner do, whether anybody listens or not."""

    def __init__(self, dpat: Dpat, seed: int, stop: threading.Event) -> None:
        super().__init__(name=f"sender-{seed}", daemon=True)
        self.sent = Sent()
        self._dpat = dpat
        self._chance = random.Random(seed)  # noqa: S311 - to be played again
        self._stop_sending = stop

    def run(self) -> None:
        while not self._stop_sending.wait(self._chance.uniform(0.1, 0.5)):
            slide_id = self._dpat.add_slide()
            if self._chance.random() < 0.5:
                answer = self._dpat.create(slide_id)
            else:
                (answer,) = self._dpat.notify(slide_id)
            (self.sent.acknowledged if answer.status == 200 else self.sent.broken).add(slide_id)


class Fire:
    """Kills workers, or the whole webserver, and starts others in their place."""

    def __init__(self, site: Site, seed: int) -> None:
        self._site = site
        self._chance = random.Random(seed)  # noqa: S311
        self.web = site.start_web()
        self.workers = [site.start_worker() for _ in range(WORKERS)]
        self.kills: list[str] = []

    def rage(self, seconds: float, acknowledged: Callable[[], int]) -> None:
        """Kill at random moments for that long, and until `LEAST` processes are killed and requests acknowledged."""
        over = threading.Event()
        timer = threading.Timer(seconds, over.set)
        timer.start()
        while not over.wait(pause := self._chance.uniform(0.2, 1.2)) or min(len(self.kills), acknowledged()) < LEAST:
            if over.is_set():
                time.sleep(pause)  # a slow machine: the killing goes on at its pace
            if self._chance.random() < 0.7:
                self._kill_worker()
            else:
                self._kill_web()
        timer.join()

    def settle(self) -> None:
        """Wait until those that were started last are ready: only then do they know how to leave in order."""
        wait_for(
            lambda: all("worker ready" in each.text() for each in self.workers), "all workers are ready", within_s=120
        )

    def _kill_worker(self) -> None:
        number = self._chance.randrange(WORKERS)
        self.workers[number].kill()
        self.workers[number].ended()
        self.workers[number] = self._site.start("worker_run.sh")
        self.kills.append("worker")

    def _kill_web(self) -> None:
        """Kill the master first, so that it starts no other in a killed one's place."""
        self.web.kill()
        self.web.ended()

        def none_is_left() -> bool:
            left = [pid for pid, command in living(self._site.mark).items() if "gunicorn" in command]
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not left

        wait_for(none_is_left, "the webserver is dead")
        self.web = self._site.start_web()
        self.kills.append("webserver")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running_site(tmp_path / "site", demo_seconds="0.2", max_attempts="99") as site:
        yield site


@pytest.fixture
def dpat(site: Site, tmp_path: Path, sample_slides: Path) -> Iterator[Dpat]:
    with Dpat(tmp_path / "dpat", sample_slides, site) as dpat:
        yield dpat


@pytest.mark.timeout(SOAK_S + DRAIN_S + 600)
def test_whatever_is_killed_each_acknowledged_slide_gets_its_one_result(site: Site, dpat: Dpat) -> None:
    print(f"SLIDEHOOK_SOAK_SEED={SEED}")  # noqa: T201 - shown below a failure
    fire = Fire(site, SEED)
    dpat.open()
    stop = threading.Event()
    senders = [Sender(dpat, SEED + number, stop) for number in range(1, SENDERS + 1)]
    for sender in senders:
        sender.start()
    fire.rage(SOAK_S * FIRE_SHARE, lambda: sum(len(sender.sent.acknowledged) for sender in senders))
    stop.set()
    for sender in senders:
        sender.join()
    acknowledged = set.union(*(sender.sent.acknowledged for sender in senders))
    broken = set.union(*(sender.sent.broken for sender in senders))
    print(f"{len(acknowledged)} acknowledged, {len(broken)} not, killed: {fire.kills}")  # noqa: T201
    assert min(len(acknowledged), len(fire.kills)) >= LEAST

    queue = FileQueue(site.queue, "admin")
    wait_for(lambda: is_empty(queue), "the queue is empty", within_s=DRAIN_S)
    must_all_be_told(dpat, acknowledged, broken)
    must_all_have_ended_once(site, acknowledged, broken)
    fire.settle()
    must_leave_in_order(site)
    must_leave_nothing_behind(site)


def is_empty(queue: FileQueue) -> bool:
    counts = FileQueueAdmin(queue).counts()
    return not any(counts[state] for state in LIVE)


def must_all_be_told(dpat: Dpat, acknowledged: set[str], broken: set[str]) -> None:
    """Check that each slide shows one result, and that this is whole: the app has seen the slide's true extent."""
    for slide_id in acknowledged | broken:
        results = dpat.results(APP, slide_id)
        assert len(results) == 1 or (slide_id in broken and not results), f"{slide_id} has {len(results)} results"
        for result in results:
            assert result["displayResult"] == "ANSWER: 42"
            size = dpat.image_record(slide_id)["imageSize"]
            shown = result["displayProperties"]
            assert [int(shown[key]) for key in ("Width (px)", "Height (px)")] == [size["width"], size["height"]]


def must_all_have_ended_once(site: Site, acknowledged: set[str], broken: set[str]) -> None:
    for slide_id in acknowledged | broken:
        jobs = site.jobs(slide_id)
        assert [job.state for job in jobs] == [JobState.DONE] or (slide_id in broken and not jobs)


def must_leave_in_order(site: Site) -> None:
    """Tell all that runs to leave; whatever is alive after that was left over by something that was killed."""
    running = [program for program in site.programs if program.process.poll() is None]
    for program in running:
        program.kill(signal.SIGTERM)
    assert [program.ended() for program in running] == [0] * len(running)
    wait_for(lambda: not living(site.mark), "no process is left over")


def must_leave_nothing_behind(site: Site) -> None:
    """Check that the next worker to start clears away what the killed ones had begun."""
    last: Program = site.start_worker("--drain")
    assert last.ended() == 0
    assert site.keeps_no_slide()
    assert not [path for path in files_below(site.data) if path.suffix == ".part"]
    counts = FileQueueAdmin(FileQueue(site.queue, "admin")).counts()
    assert not counts["damaged"]
    assert not counts[JobState.FAILED] + counts[JobState.CANCELLED]
