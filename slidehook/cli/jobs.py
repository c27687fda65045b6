"""`slidehook jobs`: look into the queue and act on it while everything runs, from any host that sees it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slidehook.errors import JobDamaged, SlidehookError
from slidehook.jobs.contract import JobNotFound, JobSummary, QueueAdmin
from slidehook.jobs.factory import open_queue
from slidehook.jobs.job import ENDED, FIRST_SYSTEM, AttemptEnded, Claimed, Ended, Job, JobRecord, JobState, Noted
from slidehook.jobs.rules import LISTED, LIVE, RETRIABLE
from slidehook.settings import read_settings
from slidehook.terminal import plain

COLOURS = {
    JobState.ACTIVE: "cyan",
    JobState.ENDING: "cyan",
    JobState.PARKED: "yellow",
    JobState.FAILED: "red",
    JobState.DONE: "green",
}
PIPE_WIDTH = 1000
REASON_CHARACTERS = 200
"""How much of a reason a list shows; `show` shows all of it."""
STATES = [state.value for state in LISTED]


@contextmanager
def _admin() -> Iterator[QueueAdmin]:
    with closing(open_queue(read_settings(), "admin")) as queue:
        yield queue.admin()


@click.group()
def jobs() -> None:
    """List, show, retry, cancel and purge jobs."""


Command = TypeVar("Command", bound=Callable[..., None])


def _filtered(states: Iterable[str]) -> Callable[[Command], Command]:
    """Add the options --slide, --app and --state to a command."""

    def add(command: Command) -> Command:
        for option in (
            click.option(
                "--state", "states", multiple=True, type=click.Choice(list(states)), help="Only these; repeatable."
            ),
            click.option("--app", "app_id", help="Only this app's."),
            click.option("--slide", "slide_id", help="Only this slide's."),
        ):
            command = option(command)
        return command

    return add


@jobs.command("list")
@_filtered([*STATES, "live"])
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1), help="At most so many jobs, some of each state."
)
@click.option("--all", "everything", is_flag=True, help="No limit.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def list_jobs(
    states: tuple[str, ...],
    app_id: str | None,
    slide_id: str | None,
    limit: int,
    *,
    everything: bool,
    as_json: bool,
) -> None:
    """List jobs: those at work, then those that wait in the order in which they will run, then ended ones."""
    with _admin() as admin:
        counts, workers = admin.counts(), admin.workers()
        found = {state: list(admin.list((state,), app_id=app_id, slide_id=slide_id)) for state in _wanted(states)}
        shares = fair_shares([len(each) for each in found.values()], None if everything else limit)
        shown = [job for each, share in zip(found.values(), shares, strict=True) for job in each[:share]]
        rows = [(summary, _record(admin, summary)) for summary in shown]
        if as_json:
            listed = [_as_json(summary) | _details_as_json(record) for summary, record in rows]
            told = {"counts": {str(key): value for key, value in counts.items()}, "workers": workers, "jobs": listed}
            click.echo(json.dumps(told, indent=2))
            return
        _print_table(rows)
        click.echo(", ".join(f"{count} {state}" for state, count in counts.items() if count) or "no jobs")
        if left := sum(map(len, found.values())) - len(shown):
            click.echo(f"{left} more are not shown; --all shows them")
        if not workers:
            click.echo("no worker is running; start ./worker_run.sh")


def fair_shares(counts: Sequence[int], limit: int | None) -> list[int]:
    """Return how many of each kind are shown if `limit` are in all: a kind with few is shown whole."""
    shares = [0] * len(counts)
    left = sum(counts) if limit is None else limit
    fewest_first = sorted(range(len(counts)), key=counts.__getitem__)
    for number, place in enumerate(fewest_first):
        shares[place] = min(counts[place], left if limit is None else left // (len(counts) - number))
        left -= shares[place]
    return shares


def _record(admin: QueueAdmin, summary: JobSummary) -> JobRecord | None:
    """Read a listed job; None when it has gone on meanwhile, or can't be read."""
    try:
        return admin.read(summary)
    except (JobNotFound, JobDamaged):
        return None


@jobs.command()
@click.argument("job")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def show(job: str, *, as_json: bool) -> None:
    """Show one job and what has happened to it. JOB: its id, or the beginning of it."""
    with _admin() as admin:
        summary, record = admin.show(job)
        if as_json:
            click.echo(json.dumps(_as_json(summary) | _record_as_json(record), indent=2))
            return
        console = Console(highlight=False)
        console.print(f"job {summary.job_id}  {_state(summary)}", soft_wrap=True)
        console.print(
            f"app {_shown(summary.app_id)}, slide {_shown(record.job.slide_id)}, asked for by {record.job.trigger}"
        )
        console.print(f"priority {summary.priority}, attempt {summary.attempt}")
        if summary.claimer:
            console.print(f"held by {_shown(summary.claimer)}", soft_wrap=True)
        console.print(f"{_clock(record.job.created_at)}  queued")
        for at, text, trace in _history(record):
            console.print(f"{_clock(at)}  {_shown(text)}", soft_wrap=True)
            for line in trace.splitlines():
                console.print(f"    {_shown(line)}", soft_wrap=True)


@jobs.command()
@click.argument("job", nargs=-1)
@_filtered([state.value for state in LISTED if state in RETRIABLE])
def retry(job: tuple[str, ...], states: tuple[str, ...], app_id: str | None, slide_id: str | None) -> None:
    """Let failed or sleeping jobs run again now. JOB: ids, or beginnings of ids; or all that the options choose.

    A job that has ended no longer has DPAT's token: it waits until somebody asks for the slide again, unless a
    service account is set.
    """
    with _admin() as admin:
        wanted = _chosen(admin, job, states, app_id, slide_id, among=RETRIABLE)
        _each(wanted, lambda each: f"job {admin.retry(each).job_id} waits to run again")


@jobs.command()
@click.argument("job", nargs=-1)
@_filtered([state.value for state in LIVE])
def cancel(job: tuple[str, ...], states: tuple[str, ...], app_id: str | None, slide_id: str | None) -> None:
    """Stop jobs, and say so on their slides. JOB: ids, or beginnings of ids; or all that the options choose."""
    from slidehook.cli.cancelled_slide import CancelledSlide  # noqa: PLC0415 - loads the apps

    def stop(each: str) -> str:
        slide = CancelledSlide()
        cancelled = admin.cancel(each, tell=slide.tell)
        return f"job {cancelled.job_id}: {plain(slide.said)}"

    with _admin() as admin:
        _each(_chosen(admin, job, states, app_id, slide_id, among=LIVE), stop)


def _chosen(
    admin: QueueAdmin,
    named: tuple[str, ...],
    states: tuple[str, ...],
    app_id: str | None,
    slide_id: str | None,
    *,
    among: Iterable[JobState],
) -> Sequence[str]:
    """Return the ids of the jobs that a command is for: those named, or those that its options choose."""
    filtered = bool(states) or app_id is not None or slide_id is not None
    if filtered == bool(named):
        raise click.UsageError("Name jobs, or choose them with --slide, --app or --state; not both.")
    if named:
        return named
    wanted = tuple(each for each in LISTED if each in among and (not states or each in states))
    return [each.job_id for each in admin.list(wanted, app_id=app_id, slide_id=slide_id)]


def _each(job_ids: Sequence[str], act: Callable[[str], str]) -> None:
    """Act on each job, whatever comes of the others; exits with status 1 where one fails."""
    failed = False
    for each in job_ids:
        try:
            click.echo(act(each))
        except SlidehookError as error:
            failed = True
            click.echo(plain(f"Error: {error}".rstrip(".") + "."), err=True)
    if not job_ids:
        click.echo("no such jobs")
    if failed:
        sys.exit(1)


@jobs.command()
@click.option("--days", type=click.FloatRange(0), help="Older than so many days.  [default: KEEP_DAYS]")
@_filtered([state.value for state in LISTED if state in ENDED])
def purge(days: float | None, states: tuple[str, ...], app_id: str | None, slide_id: str | None) -> None:
    """Remove ended jobs, and what dead processes left behind."""
    keep_days = read_settings().keep_days if days is None else days
    with _admin() as admin:
        wanted = tuple(JobState(each) for each in states) or tuple(ENDED)
        purged = admin.purge(keep_days * 86400, wanted, app_id=app_id, slide_id=slide_id)
        click.echo(f"removed {purged.jobs} jobs that ended over {keep_days:g} days ago, {purged.leftovers} leftovers")


def _wanted(states: tuple[str, ...]) -> tuple[JobState, ...]:
    if not states:
        return LISTED
    named = {JobState(each) for each in states if each != "live"} | (set(LIVE) if "live" in states else set())
    return tuple(state for state in LISTED if state in named)


def _print_table(rows: Sequence[tuple[JobSummary, JobRecord | None]]) -> None:
    table = Table(box=None, header_style="bold")
    for title in ("Job", "App", "Slide", "State", "Prio", "Try", "Queued", "Took", "By"):
        table.add_column(title, no_wrap=True)
    table.add_column("Reason", overflow="fold")
    for each, record in rows:
        by = (each.claimer or "").split("-")[0:2]
        reason = _reason(record)
        table.add_row(
            each.job_id,
            _shown(each.app_id),
            _shown(record.job.slide_id) if record else "?",
            _state(each),
            str(each.priority),
            str(each.attempt),
            _clock(each.made_at),
            _took(each, record),
            "@".join(by),
            _shown(reason if len(reason) <= REASON_CHARACTERS else f"{reason[:REASON_CHARACTERS]}…"),
        )
    if rows:
        console = Console(highlight=False)
        # A table that goes into a file or a pipe has no edge to be cut at.
        console.width = console.width if console.is_terminal else PIPE_WIDTH
        console.print(table)


def _reason(record: JobRecord | None) -> str:
    """Return why a job ended so, or why its last attempt did; of a job that is done, what it found."""
    ends = [each.reason for each in record.events if isinstance(each, AttemptEnded | Ended)] if record else []
    return ends[-1] if ends else ""


def _took(summary: JobSummary, record: JobRecord | None) -> str:
    """Return how long an ended job was worked on at last, or for how long a live one has been queued."""
    last = record.events[-1] if record and record.events else None
    if isinstance(last, Ended):
        return "-" if last.seconds is None else f"{last.seconds:.1f} s"
    waited = max(0.0, time.time() - (record.job.created_at if record else summary.made_at))
    return f"{_span(waited)} so far"


def _span(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _state(summary: JobSummary) -> str:
    text = str(summary.state)
    if summary.state is JobState.PARKED:
        text = f"parked until {_clock(summary.wakes_at)}" if summary.wakes_at else "waiting for access"
    colour = COLOURS.get(summary.state)
    return f"[{colour}]{text}[/{colour}]" if colour else text


def _history(record: JobRecord) -> Iterator[tuple[float, str, str]]:
    """Return what has happened to a job: when, what, and an app's traceback."""
    for event in record.events:
        if isinstance(event, Noted):
            yield event.at, _noted(record.job, event), ""
        elif isinstance(event, Claimed):
            yield event.at, f"attempt {event.attempt} began ({event.claimer})", ""
        elif isinstance(event, AttemptEnded):
            who = f" ({event.claimer})" if event.claimer else ""
            yield event.at, f"attempt {event.attempt} ended: {event.reason}{who}", event.trace
        elif isinstance(event, Ended):
            took = f" in {event.seconds:.1f} s" if event.seconds is not None else ""
            yield event.at, f"{event.outcome}{took}{': ' + event.reason if event.reason else ''}", event.trace


def _noted(job: Job, event: Noted) -> str:
    if job.system == FIRST_SYSTEM and "id" in event.noted:
        return f"result {event.noted['id']} stored at DPAT"
    return f"stored at {job.system}: {json.dumps(event.noted)}"


def _shown(text: str) -> str:
    """Return a text of others as rich is to print it."""
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
        "origin": job.trigger,
        "input": job.input.type,
        "events": [event.model_dump(mode="json", exclude_none=True) for event in record.events],
    }


def _details_as_json(record: JobRecord | None) -> dict[str, Any]:
    if record is None:
        return {"slide": None, "reason": "", "seconds": None}
    last = record.events[-1] if record.events else None
    seconds = last.seconds if isinstance(last, Ended) else None
    return {"slide": record.job.slide_id, "reason": _reason(record), "seconds": seconds}
