"""`slidehook jobs`: look into the queue and act on it while everything runs, from any host that sees it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slidehook.errors import DpatError, DpatUnavailable, QueueError
from slidehook.hosting.registry import load_apps
from slidehook.iaapi.client import DpatServers
from slidehook.jobs.filequeue import FileQueue
from slidehook.jobs.job import ENDED, AttemptEnded, Ended, JobRecord, JobState, ResultNoted
from slidehook.jobs.ledger import LIVE, SHOWN, Ledger
from slidehook.jobs.queue import JobSummary
from slidehook.publishing.onslide import show_cancelled
from slidehook.settings import read_settings
from slidehook.terminal import plain

COLOURS = {
    JobState.ACTIVE: "cyan",
    JobState.ENDING: "cyan",
    JobState.PARKED: "yellow",
    JobState.FAILED: "red",
    JobState.DONE: "green",
}
PIPE_WIDTH = 160
LATER = "A worker tells the slide when DPAT takes it."
STATES = [state.value for state in SHOWN]


@contextmanager
def _ledger() -> Iterator[Ledger]:
    root = read_settings().queue_dir
    if not root.is_dir():
        raise QueueError(f"there is no queue at {root}; set SLIDEHOOK_QUEUE_DIR")
    queue = FileQueue(root, "admin")
    try:
        yield Ledger(queue)
    finally:
        queue.close()


@click.group()
def jobs() -> None:
    """List, show, retry, cancel and purge jobs."""


@jobs.command("list")
@click.option(
    "--state", "states", multiple=True, type=click.Choice([*STATES, "live"]), help="Only these; repeatable."
)
@click.option("--app", "app_id", help="Only this app's.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many jobs.")
@click.option("--all", "everything", is_flag=True, help="No limit.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def list_jobs(states: tuple[str, ...], app_id: str | None, limit: int, *, everything: bool, as_json: bool) -> None:
    """List jobs: those at work, then those that wait in the order in which they will run, then ended ones."""
    with _ledger() as ledger:
        wanted = _wanted(states)
        counts = ledger.counts()
        names = list(ledger.list(wanted, app_id=app_id, limit=None if everything else limit))
        if as_json:
            found = {"counts": {str(key): value for key, value in counts.items()}, "jobs": [*map(_as_json, names)]}
            click.echo(json.dumps(found, indent=2))
            return
        _print_table(names)
        click.echo(", ".join(f"{count} {state}" for state, count in counts.items() if count) or "no jobs")
        left = sum(counts[state] for state in wanted) - len(names)
        if left > 0 and app_id is None:
            click.echo(f"{left} more are not shown; --all shows them")


@jobs.command()
@click.argument("job")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def show(job: str, *, as_json: bool) -> None:
    """Show one job and what has happened to it. JOB: its id, or the beginning of it."""
    with _ledger() as ledger:
        summary, record = ledger.show(job)
        if as_json:
            click.echo(json.dumps(_as_json(summary) | _record_as_json(record), indent=2))
            return
        console = Console(highlight=False)
        console.print(f"job {summary.job_id}  {_state(summary)}", soft_wrap=True)
        console.print(
            f"app {_shown(summary.app_id)}, slide {_shown(record.job.slide_id)}, asked for by {record.job.origin}"
        )
        console.print(f"priority {summary.priority}, attempt {summary.attempt}")
        if summary.claimer:
            console.print(f"held by {_shown(summary.claimer)}", soft_wrap=True)
        console.print(f"{_clock(record.job.created_at)}  queued")
        for at, text in _history(record):
            console.print(f"{_clock(at)}  {_shown(text)}", soft_wrap=True)


@jobs.command()
@click.argument("job", nargs=-1, required=True)
def retry(job: tuple[str, ...]) -> None:
    """Let failed or sleeping jobs run again now. JOB: ids, or beginnings of ids.

    A job that has ended no longer has DPAT's token: it waits until somebody asks for the slide again, unless a
    service account is set.
    """
    with _ledger() as ledger:
        for each in job:
            click.echo(f"job {ledger.retry(each).job_id} waits to run again")


@jobs.command()
@click.argument("job", nargs=-1, required=True)
def cancel(job: tuple[str, ...]) -> None:
    """Stop jobs, and say so on their slides. JOB: ids, or beginnings of ids."""
    with _ledger() as ledger:
        for each in job:
            slide = _Slide()
            cancelled = ledger.cancel(each, tell=slide.tell)
            click.echo(f"job {cancelled.job_id}: {plain(slide.said)}")


class _Slide:
    """The slide of a job that an operator cancels; `said` is what to tell the operator."""

    said = "its worker is told to stop"

    def tell(self, record: JobRecord) -> bool:
        """Say "cancelled" on the slide; False leaves that to a worker."""
        settings, job = read_settings(), record.job
        app = load_apps(settings).get(job.app_id)
        if app is None:
            self.said = f"stopped; a worker that has the app {job.app_id} tells the slide"
            return False
        client = DpatServers(settings).at(job.callback_url).client(job.callback_token, tries=3)
        try:
            show_cancelled(client, app, record)
        except DpatError as error:
            # A worker could only wait for a token that may never come, and the operator wants the job to be over.
            over = not isinstance(error, DpatUnavailable) and settings.dpat_user is None
            self.said = f"cancelled; its slide could not be told: {error}" if over else f"stopped; {error} {LATER}"
            return over
        self.said = "cancelled"
        return True


@jobs.command()
@click.option("--days", type=click.FloatRange(0), help="Older than so many days.  [default: KEEP_DAYS]")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in ENDED]),
    help="Only these; repeatable.",
)
def purge(days: float | None, states: tuple[str, ...]) -> None:
    """Remove ended jobs, and what dead processes left behind."""
    keep_days = read_settings().keep_days if days is None else days
    with _ledger() as ledger:
        purged = ledger.purge(keep_days * 86400, tuple(JobState(each) for each in states) or tuple(ENDED))
        click.echo(f"removed {purged.jobs} jobs that ended over {keep_days:g} days ago, {purged.leftovers} leftovers")


def _wanted(states: tuple[str, ...]) -> tuple[JobState, ...]:
    if not states:
        return SHOWN
    named = {JobState(each) for each in states if each != "live"} | (set(LIVE) if "live" in states else set())
    return tuple(state for state in SHOWN if state in named)


def _print_table(names: list[JobSummary]) -> None:
    table = Table(box=None, header_style="bold")
    for title in ("Job", "App", "State", "Prio", "Try", "Queued", "By"):
        table.add_column(title, no_wrap=True)
    for each in names:
        by = (each.claimer or "").split("-")[0:2]
        table.add_row(
            each.job_id,
            _shown(each.app_id),
            _state(each),
            str(each.priority),
            str(each.attempt),
            _clock(each.made_at),
            "@".join(by),
        )
    if names:
        console = Console(highlight=False)
        # A table that goes into a file or a pipe has no edge to be cut at.
        console.width = console.width if console.is_terminal else PIPE_WIDTH
        console.print(table)


def _state(summary: JobSummary) -> str:
    text = str(summary.state)
    if summary.state is JobState.PARKED:
        text = f"parked until {_clock(summary.wakes_at)}" if summary.wakes_at else "waiting for access"
    colour = COLOURS.get(summary.state)
    return f"[{colour}]{text}[/{colour}]" if colour else text


def _history(record: JobRecord) -> Iterator[tuple[float, str]]:
    for event in record.events:
        if isinstance(event, ResultNoted):
            yield event.at, f"result {event.id} stored at DPAT"
        elif isinstance(event, AttemptEnded):
            who = f" ({event.claimer})" if event.claimer else ""
            yield event.at, f"attempt {event.attempt} ended: {event.reason}{who}"
        elif isinstance(event, Ended):
            took = f" in {event.seconds:.1f} s" if event.seconds is not None else ""
            yield event.at, f"{event.outcome}{took}{': ' + event.reason if event.reason else ''}"


def _shown(text: str) -> str:
    """Give a text of others as rich is to print it."""
    return escape(plain(text))


def _clock(at: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _as_json(summary: JobSummary) -> dict[str, Any]:
    return {
        "id": summary.job_id,
        "app": summary.app_id,
        "state": summary.state.value,
        "priority": summary.priority,
        "attempt": summary.attempt,
        "queuedAt": summary.made_at,
        "claimer": summary.claimer,
        "wakesAt": summary.wakes_at,
        "waitsForAccess": summary.state is JobState.PARKED and summary.wakes_at is None,
    }


def _record_as_json(record: JobRecord) -> dict[str, Any]:
    job = record.job
    return {
        "slide": job.slide_id,
        "origin": job.origin,
        "input": job.input.type,
        "events": [event.model_dump(mode="json", exclude_none=True) for event in record.events],
    }
