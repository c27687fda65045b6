"""A queue that is away for a while, as a share is: no work is lost, no attempt is used up, and nobody tells a lie."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from slidehook.jobs.job import JobState
from tests.e2e.conftest import Dpat, Site
from tests.e2e.running import Program, wait_for

AWAY, BACK = "the queue can't be reached, the job goes on", "the queue can be reached again"
WITHIN_S = 90.0


class Share:
    """A site's queue directory, which can be taken away and brought back."""

    def __init__(self, queue: Path) -> None:
        self._queue = queue
        self.elsewhere = queue.with_name("queue-elsewhere")

    def away(self) -> None:
        self._queue.rename(self.elsewhere)

    def unlinked(self) -> None:
        """Leave a link that leads nowhere, as a mount by symbolic link does."""
        self.away()
        self._queue.symlink_to(self._queue.with_name("nowhere"))

    def back(self) -> None:
        if self._queue.is_symlink():
            self._queue.unlink()
        assert not self._queue.exists(), "something was made where the queue was"
        self.elsewhere.rename(self._queue)


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    site = new_site(demo_seconds="6", max_attempts="1")
    site.start_web()
    return site


@pytest.fixture
def dpat(site: Site, new_dpat: Callable[..., Dpat]) -> Dpat:
    return new_dpat(site)


@pytest.fixture
def share(site: Site) -> Iterator[Share]:
    share = Share(site.queue)
    yield share
    if share.elsewhere.exists():
        share.back()


def says(worker: Program, text: str) -> bool:
    return text in worker.text()


def notices(worker: Program, times: int = 1) -> None:
    wait_for(lambda: worker.text().count(AWAY) >= times, "the worker notices", within_s=WITHIN_S)


def goes_on(worker: Program, times: int = 1) -> None:
    wait_for(lambda: worker.text().count(BACK) >= times, "the worker goes on", within_s=WITHIN_S)


def is_done_at_once(site: Site, dpat: Dpat, worker: Program, slide_id: str) -> None:
    """Find the job done, in one attempt and by one analysis."""
    assert dpat.final(slide_id, within_s=WITHIN_S)["displayResult"] == "ANSWER: 42"
    assert site.job_in(JobState.DONE, slide_id).attempt == 1
    assert worker.text().count("analysis begins") == 1
    assert worker.text().count("claimed") == 1
    assert not [each for each in dpat.shown(slide_id)["history"] if "failed" in each["displayResult"]]


@pytest.mark.parametrize("how", [Share.away, Share.unlinked])
def test_an_analysis_goes_on_while_the_queue_is_away_again_and_again(
    site: Site, dpat: Dpat, share: Share, how: Callable[[Share], None]
) -> None:
    worker = site.start_worker()
    slide_id = dpat.add_slide()
    dpat.create(slide_id)
    for percent in (60, 80, 100):
        # Each of the app's steps is sent to the slide, for which the queue is needed.
        wait_for(partial(says, worker, f"percent={percent}"), "the app computes", within_s=WITHIN_S)
        how(share)
        notices(worker, worker.text().count(BACK) + 1)
        share.back()
        goes_on(worker, worker.text().count(AWAY))
    is_done_at_once(site, dpat, worker, slide_id)


def test_the_final_result_waits_for_the_queue(site: Site, dpat: Dpat, share: Share) -> None:
    worker = site.start_worker()
    slide_id = dpat.add_slide()
    dpat.create(slide_id)
    wait_for(lambda: "percent=100" in worker.text(), "the app computes its last step", within_s=WITHIN_S)
    share.away()
    notices(worker)
    kept = wait_for(lambda: list(site.data.glob("jobs/*/result.json")), "the analysis has ended", within_s=WITHIN_S)
    assert dpat.shown(slide_id)["displayResult"] != "ANSWER: 42"
    assert kept
    share.back()
    is_done_at_once(site, dpat, worker, slide_id)


def test_a_slide_is_fetched_while_the_queue_is_away(site: Site, dpat: Dpat, share: Share) -> None:
    worker = site.start_worker(demo_seconds="0")
    slide_id = dpat.add_slide()
    dpat.add_fault("/files$", "stall", seconds=3, after_bytes=200_000)
    dpat.create(slide_id)
    wait_for(lambda: list(site.data.glob("slides/*/*/*.part")), "the download has begun", within_s=WITHIN_S)
    share.away()
    wait_for(lambda: "slide downloaded" in worker.text(), "the slide is here", within_s=WITHIN_S)
    notices(worker)
    share.back()
    is_done_at_once(site, dpat, worker, slide_id)


def test_who_lost_the_job_while_the_queue_was_away_tells_the_slide_nothing(
    site: Site, dpat: Dpat, share: Share
) -> None:
    worker = site.start_worker()
    slide_id = dpat.add_slide()
    dpat.create(slide_id)
    wait_for(lambda: "percent=100" in worker.text(), "the app computes its last step", within_s=WITHIN_S)
    share.away()
    notices(worker)
    (mine,) = (share.elsewhere / "active").iterdir()
    theirs = mine.with_name(mine.name.rpartition(".")[0] + ".work-other-000000000000-1-00000000")
    mine.rename(theirs)
    before = dpat.shown(slide_id)["versionId"]
    share.back()
    wait_for(lambda: "claim lost, the work is dropped" in worker.text(), "the work is dropped", within_s=WITHIN_S)
    assert dpat.shown(slide_id)["versionId"] == before
    assert (site.queue / "active" / theirs.name).exists()


def test_a_worker_that_leaves_while_the_queue_is_away_leaves_in_time(site: Site, dpat: Dpat, share: Share) -> None:
    worker = site.start_worker()
    slide_id = dpat.add_slide()
    dpat.create(slide_id)
    wait_for(lambda: "percent=60" in worker.text(), "the app computes", within_s=WITHIN_S)
    share.away()
    notices(worker)
    worker.kill(signal.SIGTERM)
    assert worker.ended() == 0
    share.back()
    assert [each.state for each in site.jobs(slide_id)] == [JobState.ACTIVE]
