"""What runs in a guest: one role of the queue, without the rest of a worker. Each step is one printed line.

The last word of a line is the time, in seconds since 1970; all guests have the clock of their host.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from slidehook.errors import ClaimLost, QueueError
from slidehook.jobs.files.claimers import Claimer
from slidehook.jobs.files.probe import LocksDontWork, check_locks
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import FileClaim, FileSource
from slidehook.jobs.job import Job, JobState, digest, new_job_id
from slidehook.models import WholeSlideInput

IDLE_WAIT_S = 1.0
WATCH_EVERY_S = 0.5
"""Both as a worker has them."""
AWAY_WAIT_S = 0.5
BEAT_S = 0.5
"""Faster than a worker's, so that a test waits less."""


def say(*words: object) -> None:
    print(*words, f"{time.time():.3f}", flush=True)  # noqa: T201 - this is how the test hears of it


def make_job(given: argparse.Namespace, slide_id: str) -> Job:
    now_ns = time.time_ns()
    return Job(
        id=new_job_id(now_ns),
        app_id="wholeslide",
        slide_id=slide_id,
        created_at=now_ns / 1e9,
        trigger="user",
        input=WholeSlideInput(),
        system="dpat",
        address=given.dpat,
        cancellation_key=digest(given.slide),
        secret=given.token,
    )


def put(queue: FileQueue, given: argparse.Namespace) -> None:
    """Put one slide's job, or jobs for `count` slides."""
    slides = [given.slide] if given.count == 1 else [f"{given.slide}-{number}" for number in range(given.count)]
    for slide_id in slides:
        say("put", queue.put(make_job(given, slide_id)).id)


def cancel(queue: FileQueue, given: argparse.Namespace) -> None:
    cancelled = queue.cancel(digest(given.slide))
    say("cancelled", cancelled.job_id if cancelled else None)


def drain(queue: FileQueue, given: argparse.Namespace) -> None:
    """Work until every job has ended, on any host; `each` seconds on each."""
    source = FileSource(queue, max_attempts=10)
    say("ready", queue.claimer.id)
    was_idle = False
    while True:
        try:
            claim = source.claim()
            if claim is not None:
                say("ran", claim.job.id, claim.attempt)
                time.sleep(given.each)
                claim.finish(JobState.DONE)
                say("finished", claim.job.id)
            elif source.unfinished() == 0:
                break
            else:
                if not was_idle:
                    say("idle")
                was_idle = True
                source.wait(IDLE_WAIT_S)
        except ClaimLost as error:
            say("lost", error)
        except QueueError as error:
            say("away", error)
            time.sleep(AWAY_WAIT_S)
    say("drained")


def next_claim(source: FileSource) -> FileClaim:
    while (claim := source.claim()) is None:
        source.wait(IDLE_WAIT_S)
    return claim


def hold(queue: FileQueue, given: argparse.Namespace) -> None:
    """Claim one job, and look every `each` seconds whether it is still ours, until it is another's."""
    source = FileSource(queue, max_attempts=10)
    say("ready", queue.claimer.id)
    claim = next_claim(source)
    say("claimed", claim.job.id, claim.attempt)
    while True:
        try:
            claim.check()
        except ClaimLost as error:
            say("lost", error)
            return
        except QueueError as error:
            say("away", error)
        time.sleep(given.each)


def watch(queue: FileQueue, _: argparse.Namespace) -> None:
    """Claim job after job; tell of a fresher token and of the wish to stop as soon as a worker would see it."""
    source = FileSource(queue, max_attempts=10)
    say("ready", queue.claimer.id)
    while True:
        claim = next_claim(source)
        say("claimed", claim.job.id)
        token = claim.secret()
        while not claim.cancel_wanted():
            if (newer := claim.secret()) != token:
                token = newer
                say("token", token)
            time.sleep(WATCH_EVERY_S)
        say("stopping", claim.job.id)
        claim.finish(JobState.CANCELLED)


def share_a_host(queue: FileQueue, given: argparse.Namespace) -> None:
    """Be a webserver and a worker that touch one job's file by its several names, `count` times, then cancel it."""
    with contextlib.closing(FileQueue(given.root, "web")) as web:
        say("put", web.put(make_job(given, given.slide)).id)
        claim = next_claim(FileSource(queue, max_attempts=10))
        for number in range(given.count):
            claim.note({"id": 1, "version_id": number})
            say("joined", web.put(make_job(given, given.slide)).id)
        cancel(web, given)
        claim.finish(JobState.CANCELLED)
    say("finished", claim.job.id)


def live(queue: FileQueue, _: argparse.Namespace) -> None:
    """Be a claimer of which nothing else is to be seen."""
    with contextlib.closing(Claimer(queue.layout.root, "work", beat_s=BEAT_S)) as claimer:
        say("alive", claimer.id)
        while True:
            time.sleep(60)


def probe(queue: FileQueue, given: argparse.Namespace) -> None:
    """Try the locks; `blind`: without a look at how the share is mounted."""
    began = time.monotonic()
    try:
        check_locks(queue.layout.root, mounts="" if given.blind else None, beat_s=BEAT_S)
    except LocksDontWork as error:
        say("refused", f"{time.monotonic() - began:.3f}", error)
    else:
        say("fine", f"{time.monotonic() - began:.3f}")


ROLES: dict[str, Callable[[FileQueue, argparse.Namespace], None]] = {
    each.__name__: each for each in (put, cancel, drain, hold, watch, share_a_host, live, probe)
}


def main() -> None:
    reader = argparse.ArgumentParser()
    reader.add_argument("role", choices=ROLES)
    reader.add_argument("root", type=Path)
    reader.add_argument("--count", type=int, default=1)
    reader.add_argument("--slide", default="S")
    reader.add_argument("--dpat", default="https://dpat.example/ia")
    reader.add_argument("--token", default="token-1")
    reader.add_argument("--each", type=float, default=0.0)
    reader.add_argument("--blind", action="store_true")
    given = reader.parse_args()
    queue = FileQueue(given.root, "web" if given.role in {"put", "cancel"} else "work")
    try:
        ROLES[given.role](queue, given)
    finally:
        queue.close()


if __name__ == "__main__":
    main()
