"""How fast the queue is: `python -m benchmarks.queue [--jobs N] [--dir DIR]`; prints JSON.

Beside it the same work on other queues that live in files, where their packages are installed
(`uv sync --group benchmark`): huey's file storage, persist-queue and litequeue.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from benchmarks.other_queues import others
from slidehook.jobs.files.admin import FileQueueAdmin
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import FileSource
from slidehook.jobs.job import Job, JobState, new_job_id
from slidehook.models import WholeSlideInput

CALLBACK = "http://127.0.0.1/SectraPathologyServer/external/imageanalysis/v1"
FEW, MANY = 100, 100_000
CLAIMED = 2_000
"""How many jobs one claim-and-finish measurement takes."""
NOTICED = 200
ROUNDS = 5
PUT_ROUNDS = 100
"""Short and many: a disk may be twice as fast one second as the next, and each round gives ratios of its own."""
CROWD_ROUNDS = 3
PAYLOAD = b"x" * 450
"""About as long as a job's line."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--jobs", default=MANY, show_default=True, help="How many jobs wait in the large queue.")
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path), help="Where to measure; default: a temporary folder."
)
def main(jobs: int, folder: Path | None) -> None:
    """Measure the queue and print JSON."""
    with scratch(folder) as base:
        figures: dict[str, Any] = {"jobs": jobs}
        measures: dict[str, Callable[[], object]] = {
            "put": partial(puts, base),
            "claim_and_finish": partial(claims, base, jobs),
            "processes": partial(side_by_side, base),
            "noticed_ms": partial(noticed, base),
            "idle": partial(idle, base),
            "others": partial(others, base),
        }
        for name, measure in measures.items():
            print(f"{name} …", file=sys.stderr)
            figures[name] = measure()
        print(json.dumps(figures, indent=2))


@contextmanager
def scratch(folder: Path | None) -> Iterator[Path]:
    """Return a folder that is gone afterwards."""
    base = Path(tempfile.mkdtemp(prefix="slidehook-benchmark-", dir=folder))
    try:
        yield base
    finally:
        shutil.rmtree(base)


def make_job(number: int) -> Job:
    """Make a job for a slide of its own."""
    return Job(
        id=new_job_id(time.time_ns()),
        app_id="wholeslide",
        slide_id=f"slide-{number}",
        created_at=time.time(),
        trigger="user",
        input=WholeSlideInput(),
        system="dpat",
        address=CALLBACK,
        secret="t" * 40,
    )


def _rate(count: int, work: Callable[[], object]) -> float:
    """Return how many a second `work` does of `count` things."""
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


# --- putting


def puts(base: Path) -> dict[str, float]:
    """Compare a durable put with the least that durability takes: write, fsync, rename, and fsync of the folder.

    And with what a put asks of the disk, done by nothing else: the rest is our own computing. Every folder is made
    before and kept, so that all work beside one another on the disk. (On ext4 without a journal, run it again after
    five minutes only: until then each new file passes over the inodes of the files that the last run removed.)
    """
    count = 50
    queue = FileQueue(base / "put", "web")
    _put_all(queue, [make_job(each) for each in range(count)])  # makes the folders
    alone = _make_folders(base / "alone")
    bare, synced = base / "bare", base / "synced"
    for folder in (bare, synced):
        folder.mkdir()
    rates: dict[str, list[float]] = {"ours": [], "bare": [], "synced": [], "alone": []}
    for number in range(PUT_ROUNDS):
        jobs = [make_job(each) for each in range((number + 1) * count, (number + 2) * count)]
        rates["bare"].append(_rate(count, partial(_write_bare, bare, jobs, folder_too=False)))
        rates["ours"].append(_rate(count, partial(_put_all, queue, jobs)))
        rates["synced"].append(_rate(count, partial(_write_bare, synced, jobs, folder_too=True)))
        rates["alone"].append(_rate(count, partial(_write_as_a_put, alone, jobs)))
    queue.close()
    return {
        "per_s": round(statistics.median(rates["ours"])),
        "bare_write_fsync_rename_per_s": round(statistics.median(rates["bare"])),
        "bare_with_folder_fsync_per_s": round(statistics.median(rates["synced"])),
        "file_operations_of_a_put_per_s": round(statistics.median(rates["alone"])),
        "ratio_to_bare": _ratio(rates["ours"], rates["bare"]),
        "ratio_to_bare_with_folder_fsync": _ratio(rates["ours"], rates["synced"]),
        "ratio_to_its_file_operations": _ratio(rates["ours"], rates["alone"]),
    }


def _put_all(queue: FileQueue, jobs: list[Job]) -> None:
    for job in jobs:
        queue.put(job)


def _ratio(ours: list[float], other: list[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(ours, other, strict=True)), 2)


def _write_bare(folder: Path, jobs: list[Job], *, folder_too: bool) -> None:
    for job in jobs:
        aside = f"{folder}/aside"
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, PAYLOAD)
        os.fsync(fd)
        os.close(fd)
        os.rename(aside, f"{folder}/{job.id}")
        if folder_too:
            fd = os.open(folder, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)


def _make_folders(base: Path) -> Path:
    for name in ("active", "waiting", *(f"aliases/{number:02x}" for number in range(256))):
        (base / name).mkdir(parents=True)
    return base


def _write_as_a_put(base: Path, jobs: list[Job]) -> None:
    """Do to the disk what a put does, in the same folders."""
    for number, job in enumerate(jobs):
        held = f"{base}/active/{job.id}"
        fd = os.open(held, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, PAYLOAD)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        folder = os.open(f"{base}/active", os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        os.fsync(fd)
        os.close(fd)
        os.link(held, f"{base}/aliases/{number % 256:02x}/{job.id}")
        os.rename(held, f"{base}/waiting/{job.id}")


# --- claiming


def claims(base: Path, many: int) -> dict[str, Any]:
    """Compare claiming and finishing with few and with many jobs waiting; and the listing for a dashboard."""
    few, large = base / "few", base / "many"
    _fill(large, many)
    rates: dict[str, list[float]] = {"few": [], "many": [], "few_claim": [], "many_claim": []}
    for _ in range(ROUNDS):
        _fill(few, FEW)
        for name, root, count in (("few", few, FEW), ("many", large, CLAIMED // ROUNDS)):
            whole, claim = _drain(root, count)
            rates[name].append(whole)
            rates[f"{name}_claim"].append(claim)
    listing_ms = min(_list_ms(large) for _ in range(ROUNDS))
    return {
        f"with_{FEW}_per_s": round(statistics.median(rates["few"])),
        f"with_{many}_per_s": round(statistics.median(rates["many"])),
        "ratio_many_to_few": _ratio(rates["many"], rates["few"]),
        f"claim_alone_with_{FEW}_per_s": round(statistics.median(rates["few_claim"])),
        f"claim_alone_with_{many}_per_s": round(statistics.median(rates["many_claim"])),
        "claim_alone_ratio_many_to_few": _ratio(rates["many_claim"], rates["few_claim"]),
        f"listing_{many}_ms": round(listing_ms, 1),
    }


def _fill(root: Path, count: int) -> None:
    queue = FileQueue(root, "web")
    for number in range(count):
        queue.put(make_job(number))
    queue.close()


def _drain(root: Path, count: int) -> tuple[float, float]:
    """Claim and finish `count` jobs: gives jobs a second for both, and for the claims alone."""
    queue = FileQueue(root, "work")
    source = FileSource(queue, max_attempts=3)
    claiming = 0.0
    began = time.perf_counter()
    for _ in range(count):
        before = time.perf_counter()
        claim = source.claim()
        claiming += time.perf_counter() - before
        if claim is None:
            raise RuntimeError("the queue ran empty")
        claim.finish(JobState.DONE)
    whole = time.perf_counter() - began
    source.close()
    queue.close()
    return count / whole, count / claiming


def _list_ms(root: Path) -> float:
    admin = FileQueueAdmin(FileQueue(root, "admin"))
    began = time.perf_counter()
    admin.counts()
    list(admin.list(limit=100))
    return (time.perf_counter() - began) * 1e3


# --- many processes


def side_by_side(base: Path) -> dict[str, dict[str, float]]:
    """Let 1, 2, 4 and 8 processes drain one queue, and as a control as many queues of their own.

    Gives jobs a second of all together, and what sharing one queue costs: the ratio of the two.
    """
    crowds = (1, 2, 4, 8)
    shared: dict[int, list[float]] = {each: [] for each in crowds}
    apart: dict[int, list[float]] = {each: [] for each in crowds}
    for number in range(CROWD_ROUNDS):
        for processes in crowds:
            shared[processes].append(_together(base / f"shared-{number}-{processes}", processes, queues=1))
            apart[processes].append(_together(base / f"apart-{number}-{processes}", processes, queues=processes))
    return {
        str(processes): {
            "one_queue_per_s": round(statistics.median(shared[processes])),
            "queues_of_their_own_per_s": round(statistics.median(apart[processes])),
            "ratio": _ratio(shared[processes], apart[processes]),
        }
        for processes in crowds
    }


def _together(base: Path, processes: int, *, queues: int) -> float:
    """Have so many processes drain so many queues, `CLAIMED` jobs in all: gives jobs a second."""
    roots = [base / str(number) for number in range(queues)]
    for root in roots:
        _fill(root, CLAIMED // queues)
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(processes + 1)
    ended = context.SimpleQueue()
    workers = [
        context.Process(target=_drain_all, args=(roots[number % queues], start, ended)) for number in range(processes)
    ]
    for each in workers:
        each.start()
    start.wait()
    began = time.perf_counter()
    # Not until they are gone: of eight interpreters on two cores, that takes longer than the work.
    last: float = max(ended.get() for _ in workers)
    for each in workers:
        each.join()
    return CLAIMED / (last - began)


def _drain_all(root: Path, start: Any, ended: Any) -> None:
    queue = FileQueue(root, "work")
    source = FileSource(queue, max_attempts=3)
    queue.claimer  # noqa: B018 - made now, as a worker's is when it starts
    start.wait()
    while (claim := source.claim()) is not None:
        claim.finish(JobState.DONE)
    ended.put(time.perf_counter())  # one clock for all processes of a Linux host
    queue.close()


# --- waiting


def noticed(base: Path) -> dict[str, float]:
    """Measure from a put to the claim in a waiting worker, in ms."""
    root = base / "noticed"
    putting, working = FileQueue(root, "web"), FileQueue(root, "work")
    source = FileSource(working, max_attempts=3)
    delays: list[float] = []
    claimed = threading.Event()
    put_at = [0.0]

    def put_some() -> None:
        for number in range(NOTICED):
            job = make_job(number)
            put_at[0] = time.perf_counter()
            putting.put(job)
            claimed.wait(10)
            claimed.clear()

    thread = threading.Thread(target=put_some)
    thread.start()
    while len(delays) < NOTICED:
        claim = source.claim()
        if claim is None:
            source.wait(1.0)
            continue
        delays.append((time.perf_counter() - put_at[0]) * 1e3)
        claim.finish(JobState.DONE)
        claimed.set()
    thread.join()
    source.close()
    for each in (putting, working):
        each.close()
    delays.sort()
    return {"median": round(delays[len(delays) // 2], 1), "p99": round(delays[int(len(delays) * 0.99)], 1)}


def idle(base: Path, seconds: float = 10.0) -> dict[str, float]:
    """Measure how much of a core a waiting worker takes, in percent."""
    queue = FileQueue(base / "idle", "work")
    source = FileSource(queue, max_attempts=3)
    before, until = time.process_time(), time.monotonic() + seconds
    while time.monotonic() < until:
        source.claim()
        source.wait(1.0)
    spent = time.process_time() - before
    source.close()
    queue.close()
    return {"percent_of_a_core": round(spent / seconds * 100, 2)}


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.queue")
