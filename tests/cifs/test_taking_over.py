"""What becomes of a host's jobs that dies, sleeps or is cut off; the share is set up as docs/queue.md advises."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slidehook.jobs.files.claimers import STILL_S
from slidehook.jobs.job import JobState
from slidehook.simulator.options import Options
from slidehook.simulator.server import Simulator
from tests.cifs.sharing import HOST, LAB_WARNINGS, Site, cut_off, tally, wait_for
from tests.simulator.tiny_app import TinyApp

SERVER_NOTICES_S = 11.0
"""TCP_USER_TIMEOUT; or TCP_KEEPIDLE, and TCP_KEEPINTVL for each of TCP_KEEPCNT."""
SLACK_S = 15.0
"""For looks that are seldom, and for a machine that has other things to do."""
IDLE_LOOK_S = 1.0
"""So seldom that nothing is on its way to the host when it dies."""
JOBS = 200
CUT_S = 20.0
APP = "wholeslide"

pytestmark = [pytest.mark.timeout(300), LAB_WARNINGS]
CancelNotifier = Callable[[str], None]


@pytest.fixture
def dpat(sample_slides: Path) -> Iterator[Simulator]:
    """A DPAT that the guests reach, and in which the demo app is registered."""
    with Simulator(sample_slides, Options(strict=True), public_host=HOST) as simulator, TinyApp() as app:
        app.registration["applicationId"] = APP
        simulator.register(app.url)
        simulator.enable(APP)
        yield simulator


def shown(dpat: Simulator, slide_id: str) -> list[dict[str, Any]]:
    """Return what the slide's one result has shown, one state after the other."""
    results = dpat.results(APP, slide_id)
    return [*results[0]["history"], results[0]] if results else []


@pytest.mark.parametrize(
    ("silent", "look_s", "at_most_s"),
    [
        pytest.param(False, IDLE_LOOK_S, STILL_S, id="its-connection-closed"),
        pytest.param(True, IDLE_LOOK_S, SERVER_NOTICES_S + STILL_S, id="power-cut"),
        pytest.param(True, 0, SERVER_NOTICES_S + STILL_S, id="power-cut-with-an-answer-on-its-way"),
    ],
)
def test_a_dead_hosts_job_is_taken_over(
    keen: Site, tell: CancelNotifier, silent: bool, look_s: float, at_most_s: float
) -> None:
    death = keen.dies_at_work(1, silent=silent, look_s=look_s)
    again = death.survivor.expect("ran", within_s=at_most_s + SLACK_S)
    tell(f"taken over after {again.at - death.at:.1f} s")
    assert again.words == (death.job, "2")
    assert again.at - death.at > STILL_S / 2
    assert death.survivor.ended() == 0
    assert death.survivor.said("away") == []
    assert len(keen.names(JobState.DONE)) == 1


def test_a_worker_that_slept_too_long_neither_publishes_nor_finishes(
    keen: Site, dpat: Simulator, tell: CancelNotifier
) -> None:
    allowed = dpat.callback_url
    slow = keen.start_worker(1, dpat_urls=allowed, demo_seconds="60")
    slow.expect_text("worker ready", within_s=30)
    keen.do(1, "put", "--slide", "immuno", "--dpat", allowed, "--token", dpat.token())
    slow.expect_text("analysis begins", within_s=30)
    quick = keen.start_worker(2, dpat_urls=allowed, demo_seconds="0")
    quick.expect_text("worker ready", within_s=30)

    slept_at = time.time()
    keen.lab.pause(1)
    try:
        quick.expect_text("claimed", within_s=SERVER_NOTICES_S + STILL_S + SLACK_S)
        took_s = time.time() - slept_at
        wait_for(lambda: keen.names(JobState.DONE), "the job is done", within_s=30)
        before = shown(dpat, "immuno")
    finally:
        keen.lab.resume(1)
    woke_at = time.time()
    slow.expect_text("claim lost", within_s=60)
    tell(f"taken over after {took_s:.1f} s of sleep; the sleeper knew {time.time() - woke_at:.1f} s after waking")
    assert shown(dpat, "immuno") == before
    assert len(dpat.results(APP, "immuno")) == 1
    assert dpat.results(APP, "immuno")[0]["displayResult"] == "ANSWER: 42"
    assert len(keen.names(JobState.DONE)) == 1
    assert " done " not in slow.text


@pytest.mark.parametrize("cut", [(1, 2), (1,)], ids=["of-all-hosts", "of-one-host"])
def test_a_cut_of_the_network_loses_nothing_and_runs_nothing_twice(
    keen: Site, tell: CancelNotifier, cut: tuple[int, ...]
) -> None:
    keen.do(1, "put", "--count", str(JOBS))
    workers = [keen.start(guest, "drain", "--each", "0.1") for guest in (1, 2)]
    those = [workers[guest - 1] for guest in cut]
    for worker in workers:
        worker.expect("finished", count=5)
    with cut_off(keen.lab, *cut):
        before = tally(*those).total()
        time.sleep(CUT_S)
        during = tally(*those).total() - before
    healed_at = time.time()
    assert [worker.ended(within_s=90) for worker in workers] == [0, 0]
    first = min((said.at for worker in those for said in worker.said("ran") if said.at > healed_at), default=math.nan)
    ran = tally(*workers)
    errors = sum(len(worker.said("away")) + len(worker.said("lost")) for worker in workers)
    tell(
        f"{before} jobs before the cut, {during} in its {CUT_S:g} s, the next {first - healed_at:.1f} s after it; "
        f"{errors} errors; all {JOBS} done {time.time() - healed_at:.1f} s after it"
    )
    assert during <= len(cut)
    assert len(ran) == JOBS
    assert set(ran.values()) == {1}
    assert len(keen.names(JobState.DONE)) == JOBS
