"""The command behind worker_run.sh."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

import click
import structlog

from slidehook.errors import SlidehookError
from slidehook.jobs.factory import open_queue
from slidehook.logs import set_up_logging
from slidehook.registry.fingerprint import fingerprint
from slidehook.registry.registry import load_apps
from slidehook.running.app_process import left_behind
from slidehook.running.environment import take_from_environment
from slidehook.running.orphans import end_left_behind
from slidehook.running.process_tree import end_with
from slidehook.settings import Settings, read_settings
from slidehook.startup import cant_start
from slidehook.streams import protect_output, write_out
from slidehook.systems import Systems
from worker.context import WorkerContext
from worker.loop import Worker
from worker.shutdown import Interruption, leave_signals
from worker.supervisor import report_ready, supervise
from worker.workspace import Workspace


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--processes", default=1, show_default=True, type=click.IntRange(1, 256), help="Workers to run here.")
@click.option("--drain", is_flag=True, help="Exit once no runnable job is left.")
@click.option("--parent", type=int, hidden=True, help="The process id of the supervisor; this worker ends with it.")
@click.option("--ready", type=int, hidden=True, help="The file descriptor to report on that this worker is ready.")
def main(processes: int, *, drain: bool, parent: int | None, ready: int | None) -> None:
    """Work on the jobs in SLIDEHOOK_QUEUE_DIR until Ctrl-C, SIGTERM or a closed terminal.

    Start more of these for more capacity, on any host that sees the queue directory.
    """
    protect_output()
    set_up_logging()
    leaving = Interruption()
    if processes > 1:
        sys.exit(supervise(processes, leaving, drain=drain))
    leaving.listen()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, leave_signals())
    reap()
    if parent is not None:
        end_with(parent, signal.SIGTERM)
    try:
        settings = read_settings()
        taken = take_from_environment()  # before there are threads that read the environment
        if work(settings, leaving, drain=drain, ready=ready):
            os.environ.update(taken)
            start_anew(leaving)
    except SlidehookError as error:
        cant_start(error)


def work(settings: Settings, leaving: Interruption, *, drain: bool, ready: int | None = None) -> bool:
    """Run one worker in this process; returns True when the apps changed on disk and a new process must go on."""
    log = structlog.get_logger()
    queue = open_queue(settings, "work")
    queue.check()
    workspace = Workspace(settings.data_dir, queue.claimer_id, min_free_gb=settings.min_free_gb)
    workspace.check()
    registry = load_apps(settings)
    for broken in registry.broken:
        log.error("app does not load", app=broken.entry_point, reason=broken.reason)
    for app in registry.values():
        log.info("app loaded", app=app.id, version=app.version, fingerprint=fingerprint(app))
    source = queue.source(max_attempts=settings.max_attempts, apps=frozenset(registry))
    liveness = queue.liveness()

    def drop_dead() -> None:
        end_left_behind(left_behind(settings))
        workspace.drop_dead(liveness)

    def upkeep() -> None:
        drop_dead()
        workspace.drop_old(settings.keep_days)
        purged = queue.admin().purge(settings.keep_days * 86400)
        if purged.jobs:
            log.info("purged", jobs=purged.jobs, older_than_days=settings.keep_days)

    context = WorkerContext(settings, registry, Systems(settings, pause=leaving.pause), workspace, leaving)
    worker = Worker(context, source, upkeep=upkeep, drop_dead=drop_dead)
    log.info("worker ready", queue=queue.name, apps=",".join(registry), claimer=queue.claimer_id)
    report_ready(ready)
    try:
        return worker.run(drain=drain)
    finally:
        queue.close()


def start_anew(leaving: Interruption) -> None:
    """Replace this process by a new one of the same command; returns only if the worker was told to leave."""
    # Signals from here on are delivered to the new process, once it handles them.
    signal.pthread_sigmask(signal.SIG_BLOCK, leave_signals())
    if not leaving.asked:
        command = list(sys.orig_argv)
        if "--ready" in command:  # it was reported already, and its file descriptor may be another file's by now
            at = command.index("--ready")
            del command[at : at + 2]
        write_out()
        os.execv(sys.executable, command)  # noqa: S606 - our own command


def reap() -> None:
    """Collect the exit statuses of child processes of the process that this one replaced."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
