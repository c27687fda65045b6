"""Two hosts that work on one queue on a share as it comes: Samba and its mounts with their defaults."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest

from slidehook.jobs.job import JobState
from tests.cifs.sharing import LAB_WARNINGS, NOBRL, PLAIN, Site, remount, tally

JOBS = 500
NOTICED_WITHIN_S = 2.0
REQUESTS = 3
IDLE_S = 5.0
"""After so long without work a worker looks as seldom as it ever does."""
HELD_FOR_S = 30.0
"""Longer than a take-over takes where Samba is set to notice a host's death."""

pytestmark = [pytest.mark.timeout(300), LAB_WARNINGS]
CancelNotifier = Callable[[str], None]


def test_workers_on_two_hosts_run_each_of_500_jobs_once(plain: Site, tell: CancelNotifier) -> None:
    plain.do(1, "put", "--count", str(JOBS))
    began = time.monotonic()
    workers = [plain.start(guest, "drain") for guest in (1, 2)]
    assert [worker.ended(within_s=200) for worker in workers] == [0, 0]
    took_s = time.monotonic() - began
    ran = tally(*workers)
    shares = [len(tally(worker)) for worker in workers]
    tell(f"{JOBS} jobs in {took_s:.1f} s with the workers' start, {shares[0]} + {shares[1]}")
    assert len(ran) == JOBS
    assert set(ran.values()) == {1}
    assert min(shares) > 0
    assert len(plain.names(JobState.DONE)) == JOBS


def test_what_one_host_says_another_notices_within_two_seconds(plain: Site, tell: CancelNotifier) -> None:
    worker = plain.start(2, "watch")
    worker.expect("ready")
    noticed: dict[str, list[float]] = {"new work": [], "a fresher token": [], "a cancel": []}
    for turn in (1, 2, 3):
        if turn == 1:
            time.sleep(IDLE_S)
        put = plain.do(1, "put", "--slide", f"S-{turn}", "--token", "token-1").expect("put")
        noticed["new work"].append(worker.expect("claimed", count=turn).at - put.at)
        put = plain.do(1, "put", "--slide", f"S-{turn}", "--token", "token-2").expect("put")
        noticed["a fresher token"].append(worker.expect("token", count=turn).at - put.at)
        cancel = plain.do(1, "cancel", "--slide", f"S-{turn}").expect("cancelled")
        noticed["a cancel"].append(worker.expect("stopping", count=turn).at - cancel.at)
    for what, times in noticed.items():
        tell(f"{what} noticed after {statistics.median(times):.2f} s, at most {max(times):.2f} s")
    assert max(max(times) for times in noticed.values()) < NOTICED_WITHIN_S


def test_a_webserver_and_a_worker_on_one_host_write_to_one_job(plain: Site, tell: CancelNotifier) -> None:
    began = time.monotonic()
    run = plain.do(1, "share_a_host", "--count", str(REQUESTS))
    tell(f"{REQUESTS} requests for a running job, and its cancel, in {time.monotonic() - began:.1f} s")
    assert [said.words for said in run.said("joined")] == [run.said("put")[0].words] * REQUESTS
    assert len(plain.names(JobState.CANCELLED)) == 1


def test_a_worker_refuses_a_share_mounted_with_nobrl_and_says_why(plain: Site, tell: CancelNotifier) -> None:
    remount(plain.lab, 1, NOBRL)
    try:
        worker = plain.start_worker(1)
        assert worker.ended() != 0
    finally:
        remount(plain.lab, 1, PLAIN)
    tell(worker.text.strip().splitlines()[-1])
    assert "nobrl" in worker.text
    assert "worker ready" not in worker.text


@pytest.mark.parametrize(("living", "starting"), [(PLAIN, NOBRL), (NOBRL, PLAIN)])
def test_a_lock_that_is_not_seen_elsewhere_is_noticed_beside_a_living_worker(
    plain: Site, tell: CancelNotifier, living: str, starting: str
) -> None:
    remount(plain.lab, 2, living)
    remount(plain.lab, 1, starting)
    try:
        claimer = plain.start(2, "live").expect("alive").words[0]
        refused = plain.do(1, "probe", "--blind").expect("refused")
    finally:
        plain.tidy()
        for guest in (1, 2):
            remount(plain.lab, guest, PLAIN)
    tell(f"noticed after {refused.words[0]} s")
    assert refused.words[1] == claimer


def test_locks_that_work_let_a_worker_start_at_once_beside_a_living_one(plain: Site, tell: CancelNotifier) -> None:
    plain.start(2, "live").expect("alive")
    fine = plain.do(1, "probe").expect("fine")
    tell(f"the probe takes {fine.words[0]} s on the share")
    assert float(fine.words[0]) < 2.0


def test_a_dead_hosts_job_is_taken_over_when_its_connection_closes(plain: Site, tell: CancelNotifier) -> None:
    death = plain.dies_at_work(1, silent=False, look_s=1.0)
    again = death.survivor.expect("ran", within_s=60)
    tell(f"taken over after {again.at - death.at:.1f} s, with Samba's defaults")
    assert again.words == (death.job, "2")
    assert death.survivor.ended() == 0
    assert death.survivor.said("away") == []


def test_a_job_whose_lock_the_server_still_holds_is_not_taken_over_and_others_go_on(
    plain: Site, tell: CancelNotifier
) -> None:
    death = plain.dies_at_work(1, silent=True, look_s=0)
    plain.do(2, "put", "--slide", "S-other")
    other = death.survivor.expect("ran")
    time.sleep(HELD_FOR_S)
    tell(f"after a power cut, with Samba's defaults, not taken over within {time.time() - death.at:.0f} s")
    assert death.survivor.said("ran") == [other]
    assert other.words[0] != death.job
    assert death.job in plain.names(JobState.ACTIVE)[0]
