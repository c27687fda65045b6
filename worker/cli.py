"""The command behind worker_run.sh."""

from __future__ import annotations

import signal
import subprocess
import sys
import types

import click
import structlog

from slidehook.errors import SlidehookError
from slidehook.jobs.claimers import Obituaries
from slidehook.jobs.filequeue import FileQueue
from slidehook.jobs.ledger import Ledger
from slidehook.jobs.source import FileSource
from slidehook.logs import set_up_logging
from slidehook.registry import load_apps
from slidehook.settings import Settings, read_settings
from worker.leaving import Leaving
from worker.loop import Worker
from worker.workspace import Workspace

CANT_START = 78
"""The exit status of a worker that can't start as things are: starting it again would not help (EX_CONFIG)."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--processes", default=1, show_default=True, type=click.IntRange(1, 256), help="Workers to run here.")
@click.option("--drain", is_flag=True, help="Leave when no job is left.")
def main(processes: int, drain: bool) -> None:
    """Work on the jobs in SLIDEHOOK_QUEUE_DIR until Ctrl-C or SIGTERM.

    Start more of these for more capacity, on any host that sees the queue directory.
    """
    set_up_logging()
    try:
        settings = read_settings()
        if processes == 1:
            work(settings, drain=drain)
        else:
            sys.exit(_supervise(processes, drain=drain))
    except SlidehookError as error:
        click.echo(f"slidehook: {error}", err=True)
        sys.exit(CANT_START)


def work(settings: Settings, *, drain: bool) -> None:
    """Run one worker in this process."""
    log = structlog.get_logger()
    registry = load_apps(settings)
    for broken in registry.broken:
        log.error("app does not load", app=broken.entry_point, reason=broken.reason)
    queue = FileQueue(settings.queue_dir, "work")
    source = FileSource(queue, max_attempts=settings.max_attempts, apps=frozenset(registry))
    workspace = Workspace(settings.data_dir, queue.claimer.id)
    obituaries = Obituaries(settings.queue_dir)

    def upkeep() -> None:
        workspace.drop_dead(obituaries)
        workspace.drop_old(settings.keep_days)
        purged = Ledger(queue).purge(settings.keep_days * 86400)
        if purged.jobs:
            log.info("purged", jobs=purged.jobs, older_than_days=settings.keep_days)

    leaving = Leaving()
    worker = Worker(
        settings,
        source,
        registry,
        workspace,
        leaving=leaving,
        upkeep=upkeep,
        drop_dead=lambda: workspace.drop_dead(obituaries),
    )

    def leave(number: int, _: types.FrameType | None) -> None:
        log.info("leaving", signal=signal.Signals(number).name)
        leaving.ask()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, leave)
    log.info("worker ready", queue=str(settings.queue_dir), apps=",".join(registry), claimer=queue.claimer.id)
    try:
        worker.run(drain=drain)
    finally:
        source.close()
        queue.close()


def _supervise(processes: int, *, drain: bool) -> int:
    """Run several workers as processes of their own; one that dies is started again."""
    log = structlog.get_logger()
    command = [sys.executable, "-m", "worker", *(["--drain"] if drain else [])]
    workers = [subprocess.Popen(command) for _ in range(processes)]  # noqa: S603 - our own command
    leaving = False

    def leave(number: int, _: types.FrameType | None) -> None:
        nonlocal leaving
        leaving = True
        for each in workers:
            each.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    worst = 0
    while workers:
        for each in list(workers):
            try:
                code = each.wait(timeout=0.2)
            except subprocess.TimeoutExpired:
                continue
            workers.remove(each)
            if code == CANT_START and not leaving:
                leave(signal.SIGTERM, None)
                worst = code
            elif code and not leaving:
                log.error("a worker died and is started again", status=code)
                workers.append(subprocess.Popen(command))  # noqa: S603
            elif leaving:
                worst = max(worst, abs(code))
    return worst
