"""Should the apps' process fetch the slide? What that costs: `python -m benchmarks.fetch_in_child`; prints JSON.

A worker fetches in a thread, which it abandons if the job is stopped meanwhile. The other way is to let the process
of the apps fetch, and to end it. Measured turn by turn, with the simulator as DPAT: the record, the label and the
files of one slide, fetched in a thread and in a warm child process that gets the ticket and the token through a pipe;
what an abandonable call costs beyond a plain one; and how long a worker has no apps after its child was ended.
"""

from __future__ import annotations

import json
import os
import pickle
import statistics
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import click

from benchmarks.queue import scratch
from slidehook.disk import Room
from slidehook.dpat.system import DpatSystem
from slidehook.models import ImageInfo, Size
from slidehook.running.app_process import AppProcess
from slidehook.running.task import Task
from slidehook.settings import Settings
from slidehook.simulator.samples import sample_folder
from slidehook.simulator.server import Simulator
from slidehook.systems import Access, OneSecret, OriginTicket
from worker.shutdown import Interruption

SLIDE, APP = "immuno", "wholeslide"
CALLS = 2000
INFO = ImageInfo(id=SLIDE, image_size=Size(width=2000, height=1000))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", default=30, show_default=True, type=click.IntRange(1), help="Slides to fetch either way.")
@click.option("--deaths", default=5, show_default=True, type=click.IntRange(1), help="How often to end the child.")
def main(rounds: int, deaths: int) -> None:
    """Measure both ways and print JSON."""
    with scratch(None) as base:
        settings = Settings(_env_file=None, demo_seconds=0, data_dir=base / "data", min_free_gb=0)
        figures = {
            "cores": os.cpu_count(),
            "abandonable_call_us": round(abandonable_call_us(), 1),
            **fetches(settings, sample_folder(base / "slides"), base, rounds),
            **ended_children(settings, deaths),
        }
        print(json.dumps(figures, indent=2))


def abandonable_call_us() -> float:
    """Return what a call in a thread of its own costs beyond a plain call, in µs."""
    leaving = Interruption()
    return (_median_s(lambda: leaving.run(int), CALLS) - _median_s(int, CALLS)) * 1e6


def fetches(settings: Settings, slides: Path, base: Path, rounds: int) -> dict[str, float]:
    """Return the ms for one slide in a thread, the ms in a child, and the difference."""
    leaving = Interruption()
    ours, theirs = get_context("spawn").Pipe()
    with Simulator(slides) as dpat:
        ticket = OriginTicket("dpat", dpat.callback_url, SLIDE, APP)
        child = get_context("spawn").Process(target=_serve, args=(theirs, settings, base / "theirs"))
        child.start()
        theirs.close()
        system = DpatSystem(settings)

        def in_thread() -> None:
            leaving.run(lambda: _fetch(system, ticket, dpat.token(), base / "ours"))

        def in_child() -> None:
            ours.send((ticket, dpat.token()))
            pickle.loads(ours.recv_bytes())  # noqa: S301 - from our own child

        in_thread()
        in_child()
        both = [(_once_s(in_thread), _once_s(in_child)) for _ in range(rounds)]
        ours.close()
        child.join()
    thread_ms, child_ms = (statistics.median(each) * 1000 for each in zip(*both, strict=True))
    return {
        "fetch_in_thread_ms": round(thread_ms, 1),
        "fetch_in_child_ms": round(child_ms, 1),
        "child_costs_ms": round(child_ms - thread_ms, 1),
    }


def ended_children(settings: Settings, deaths: int) -> dict[str, float]:
    """Return how long the next job waits for its apps: with the child of the last one, and after that was ended."""
    cold, warm = [], []
    for _ in range(deaths):
        process = AppProcess(settings)
        try:
            cold.append(_once_s(lambda process=process: _analyse(process)))  # type: ignore[misc]
            warm.append(_once_s(lambda process=process: _analyse(process)))  # type: ignore[misc]
        finally:
            process.kill()
    return {
        "next_job_after_an_abandoned_thread_ms": round(statistics.median(warm) * 1000, 1),
        "next_job_after_an_ended_child_ms": round(statistics.median(cold) * 1000, 1),
    }


def _analyse(process: AppProcess) -> None:
    task = Task(APP, None, INFO, None)
    process.analyse(task, timeout_s=60, progress=lambda *_: None, tick=lambda: None)


def _serve(pipe: Connection, settings: Settings, base: Path) -> None:
    system = DpatSystem(settings)
    while True:
        try:
            ticket, token = pipe.recv()
        except EOFError:
            return
        pipe.send_bytes(pickle.dumps(_fetch(system, ticket, token, base)))


def _fetch(system: DpatSystem, ticket: OriginTicket, token: str, base: Path) -> tuple[ImageInfo, list[Path]]:
    """Fetch what an app may need; the files are removed by the next fetch."""
    origin = system.origin(ticket, Access(OneSecret(token)))
    for each in base.glob("*"):
        each.unlink()

    def make_folder() -> Path:
        base.mkdir(exist_ok=True)
        return base

    info = origin.info()
    origin.label()
    return info, origin.files(make_folder, lambda *_: None, room=Room.keeping(0))


def _median_s(do: Callable[[], object], times: int) -> float:
    return statistics.median(_once_s(do) for _ in range(times))


def _once_s(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
