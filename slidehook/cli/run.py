"""`slidehook run`: try an app on a slide of this machine, without any server."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from slidehook.app import App
from slidehook.dpat.iaapi.models import ResultRecord
from slidehook.dpat.stored_result import frame_of
from slidehook.errors import AppCrashed, AppError, PixelSizeUnknown, SlideUnreadable
from slidehook.folder.destination import FolderDestination, LocalWork
from slidehook.folder.local_run import LocalRun, drawn_by
from slidehook.folder.local_slide import local_bounds, local_id, local_info
from slidehook.geometry import Frame
from slidehook.logs import set_up_logging
from slidehook.models import ImageInfo, Input
from slidehook.pixels.bounds import qupath_origin
from slidehook.regions import regions_of
from slidehook.registry.app_reference import AppFault, check_complete, find_app
from slidehook.registry.dependencies import DependencyMissing
from slidehook.registry.params import changed_params, read_assignments
from slidehook.registry.registry import Registry, load_apps
from slidehook.results.geojson import read_outlines
from slidehook.running.author_trace import author_trace
from slidehook.running.child import APP_HAS_A_FAULT
from slidehook.settings import read_settings
from slidehook.systems import Done
from slidehook.terminal import plain

PIPE_WIDTH = 160
INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells count."""
HINTS = {
    signal.SIGSEGV: "native code has a fault",
    signal.SIGBUS: "native code has a fault, or a file that it reads was cut",
    signal.SIGABRT: "native code gave up",
    signal.SIGILL: "native code was built for another processor",
    signal.SIGFPE: "native code divided by zero",
    signal.SIGKILL: "perhaps the system had no memory left",
}
"""Why an app's process may have died of a signal."""


@click.command()
@click.argument("app", metavar="APP")
@click.argument("slide", type=click.Path(path_type=Path))
@click.option(
    "--region",
    type=click.Path(path_type=Path),
    help="GeoJSON with what a user would draw, in level-0 pixels, as QuPath exports it: from the corner of the "
    "file's bounds, where it states any.",
)
@click.option("--tag", help="The tag of that region, for an app with tags.  [default: its class in the GeoJSON]")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for the files.  [default: ./SLIDE-APP]"
)
@click.option(
    "--param", "params", multiple=True, metavar="NAME=VALUE", help="Set one of the app's parameters; repeatable."
)
@click.option("--mpp", type=click.FloatRange(0, min_open=True), help="µm per pixel, for a file that does not say it.")
@click.option("--no-limits", is_flag=True, help="Let the app take more time and memory than it may in a worker.")
def run(
    *,
    app: str,
    slide: Path,
    region: Path | None,
    tag: str | None,
    out: Path | None,
    params: tuple[str, ...],
    mpp: float | None,
    no_limits: bool,
) -> None:
    """Run an app on a slide of this machine, without any server.

    APP: an installed app's id, module:Class, or my_app.py:Class. SLIDE: a file, or the folder of a DICOM series.

    Writes result.json (what DPAT would get), overlay.png (the result drawn on the slide) and result.geojson (all that
    was found, for QuPath, and counted from where QuPath counts). Should drawing fail, the others are there.

    The app's timeout (else JOB_TIMEOUT) and its memory_gb hold as they do in a worker.
    """
    set_up_logging(least=logging.CRITICAL)  # the terminal is the app's
    try:
        settings = read_settings()
        registry = load_apps(settings)
        with _traced():
            chosen = find_app(app, registry, settings)
            chosen.params = changed_params(chosen.params, read_assignments(params), source="--param")
            check_complete(chosen)
        outlines = read_outlines(region, origin=qupath_origin(local_bounds(slide))) if region else []
        _check_dependencies(chosen, registry)
        info = local_info(slide, mpp=mpp)
        drawn = drawn_by(chosen, outlines, tag, _frame(info))
        to = _destination(out or Path(f"{local_id(slide)}-{chosen.id}"), chosen, slide, info, drawn)
        to.check()
        done = _analyse(LocalRun(chosen, slide, registry, settings, drawn, mpp, limited=not no_limits), info)
        to.end(done)
        to.follow_up(done)
    except KeyboardInterrupt:
        click.echo("stopped; nothing was written", err=True)
        sys.exit(INTERRUPTED)
    if to.record is not None:
        _print(to.record, to.files)


def _destination(folder: Path, app: App, slide: Path, info: ImageInfo, drawn: Input) -> FolderDestination:
    frame = _frame(info)
    regions = [each.in_result(frame) for each in regions_of(drawn, frame)]
    work = LocalWork(app.id, info.id)
    return FolderDestination(
        folder, work, app, slide=slide, drawn=regions, warn=lambda said: click.echo(plain(said), err=True)
    )


def _analyse(run: LocalRun, info: ImageInfo) -> Done:
    try:
        with _progress() as bars:
            shown = _Bars(bars)
            done = run.analyse(shown.show)
            shown.done()
            return done
    except PixelSizeUnknown as error:
        if info.microns_per_pixel is not None:
            raise
        raise PixelSizeUnknown(f"{error}: say it with --mpp") from error
    except AppCrashed as error:
        if not error.signal_number:
            raise
        number = signal.Signals(error.signal_number)
        hint = f": {HINTS[number]}" if number in HINTS else ""
        click.echo(f"Error: the process in which the app ran was killed by {number.name}{hint}.", err=True)
        sys.exit(128 + number)
    except AppError as error:
        if not error.trace:
            raise
        click.echo(error.trace, err=True, nl=False)
        sentence = str(error).replace(APP_HAS_A_FAULT, f"the app {run.app.id} has a fault", 1)
        raise AppFault(sentence) from error


def _check_dependencies(app: App, registry: Registry) -> None:
    try:
        registry.before(app)
    except DependencyMissing as error:
        raise DependencyMissing(f"the app {app.id}: {error}") from error


def _frame(info: ImageInfo) -> Frame:
    frame = frame_of(info)
    if frame is None:
        raise SlideUnreadable("the slide has no pixels")
    return frame


@contextmanager
def _traced() -> Iterator[None]:
    """Show the traceback of what an author's code raises, from that code on."""
    try:
        yield
    except AppFault as fault:
        if (cause := fault.__cause__) is not None:
            click.echo(author_trace(cause), err=True, nl=False)
        raise


# --- progress


@contextmanager
def _progress() -> Iterator[Bars]:
    with Bars(
        TextColumn("{task.fields[app]}"), BarColumn(40), TaskProgressColumn(),
        TextColumn("{task.description}", markup=False), TimeElapsedColumn(), console=Console(stderr=True),
        auto_refresh=False,  # so that a debugger has the terminal to itself
    ) as bars:  # fmt: skip
        yield bars


class _Bars:
    """A bar for each app, in the order in which they are run."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def show(self, app: App, percent: float, text: str) -> None:
        if app.id not in self._tasks:
            self.done()
            self._tasks[app.id] = self._bars.add_task("", total=100, app=app.id)
        self._bars.update(
            self._tasks[app.id], completed=max(0.0, min(100.0, percent)), description=text, refresh=True
        )

    def done(self) -> None:
        for task in self._tasks.values():
            self._bars.update(task, completed=100, description="done", refresh=True)


# --- what is left behind


def _print(record: ResultRecord, files: list[Path]) -> None:
    console = Console(highlight=False)
    # What goes into a file or a pipe has no edge to be cut at.
    console.width = console.width if console.is_terminal else PIPE_WIDTH
    console.print(Text(plain(record.display_result), style="bold"))
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for name, value in record.display_properties.items():
        table.add_row(Text(plain(name)), Text(plain(str(value))))
    console.print(table)
    for path in files:
        console.print(Text(plain(str(path))), soft_wrap=True)
