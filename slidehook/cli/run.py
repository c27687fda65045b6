"""`slidehook run`: try an app on a slide of this machine, without any server."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryFile

import click
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

import slidehook
from slidehook.app import App
from slidehook.dpat.iaapi.models import ResultRecord
from slidehook.dpat.stored_result import frame_of
from slidehook.errors import AppError, CannotStore, PixelSizeUnknown, SlideUnreadable
from slidehook.folder.limits import limited
from slidehook.folder.local_run import Trial, drawn_by, try_app
from slidehook.folder.local_slide import local_bounds, local_file, local_id, local_info
from slidehook.folder.overlay import NoPicture, overlay_png
from slidehook.geometry import Frame
from slidehook.models import ImageInfo
from slidehook.pixels.bounds import qupath_origin
from slidehook.private import private_folder, replace_private
from slidehook.registry.app_reference import AppFault, check_complete, find_app
from slidehook.registry.dependencies import DependencyMissing
from slidehook.registry.params import changed_params, read_assignments
from slidehook.registry.registry import Registry, load_apps
from slidehook.result import Progress
from slidehook.results.geojson import Outline, geojson_of, read_outlines
from slidehook.results.sanitize import clipped
from slidehook.settings import read_settings
from slidehook.terminal import plain

Limits = Callable[[App], AbstractContextManager[None]]
"""What holds an app to the time and memory that it may take."""
_PACKAGE = Path(slidehook.__file__).parent
PIPE_WIDTH = 160
INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells count."""


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
    try:
        settings = read_settings()
        registry = load_apps(settings)
        with _traced():
            chosen = find_app(app, registry, settings)
            chosen.params = changed_params(chosen.params, read_assignments(params), source="--param")
            check_complete(chosen)
        outlines = read_outlines(region, origin=qupath_origin(local_bounds(slide))) if region else []
        before = _before(chosen, registry)
        limits = _unlimited if no_limits else _limited
        folder = out or Path(f"{local_id(slide)}-{chosen.id}")
        _check_folder(folder)
        trial = _try(chosen, before, slide, outlines=outlines, tag=tag, mpp=mpp, limits=limits)
        files = _keep(folder, chosen, slide, trial)
    except KeyboardInterrupt:
        click.echo("stopped; nothing was written", err=True)
        sys.exit(INTERRUPTED)
    _print(trial.record, files)


def _try(
    app: App,
    before: list[App],
    slide: Path,
    *,
    outlines: list[Outline],
    tag: str | None,
    mpp: float | None,
    limits: Limits,
) -> Trial:
    info = local_info(slide, mpp=mpp)
    drawn = drawn_by(app, outlines, tag, _frame(info))
    try:
        with _progress() as bars, _traced():
            trial = try_app(
                app, before, slide, drawn=drawn, mpp=mpp, progress=lambda each: _bar(bars, each), limits=limits
            )
            for task in bars.task_ids:
                bars.update(task, completed=100, description="done")
            return trial
    except PixelSizeUnknown as error:
        if info.microns_per_pixel is not None:
            raise
        raise PixelSizeUnknown(f"{error}: say it with --mpp") from error


def _before(app: App, registry: Registry) -> list[App]:
    try:
        return registry.before(app)
    except DependencyMissing as error:
        raise DependencyMissing(f"the app {app.id}: {error}") from error


def _frame(info: ImageInfo) -> Frame:
    frame = frame_of(info)
    if frame is None:
        raise SlideUnreadable("the slide has no pixels")
    return frame


def _limited(app: App) -> AbstractContextManager[None]:
    timeout_s = app.timeout or app.settings.job_timeout.total_seconds()
    return limited(timeout_s=timeout_s, memory_gb=app.memory_gb, last_words=_last_words)


def _unlimited(_: App) -> AbstractContextManager[None]:
    return nullcontext()


def _last_words(error: AppError) -> None:
    Console(stderr=True).show_cursor()  # the progress bar hides it
    click.echo(f"\nError: {plain(str(error))}.", err=True)


@contextmanager
def _traced() -> Iterator[None]:
    """Show the traceback of what an author's code raises, from that code on."""
    try:
        yield
    except AppFault as fault:
        if (cause := fault.__cause__) is not None:
            trace = cause.__traceback__
            while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
                trace = trace.tb_next
            traceback.print_exception(cause.with_traceback(trace))
        raise


def _is_ours(file: str) -> bool:
    """Say whether a line of a traceback is slidehook's own, or of Python's import."""
    path = Path(file)
    return file.startswith("<frozen") or (
        path.is_relative_to(_PACKAGE) and not path.is_relative_to(_PACKAGE / "apps")
    )


# --- progress


@contextmanager
def _progress() -> Iterator[Bars]:
    with Bars(
        TextColumn("{task.fields[app]}"), BarColumn(40), TaskProgressColumn(),
        TextColumn("{task.description}", markup=False), TimeElapsedColumn(), console=Console(stderr=True),
    ) as bars:  # fmt: skip
        yield bars


def _bar(bars: Bars, app: App) -> Progress:
    task = bars.add_task("", total=100, app=app.id)

    def show(percent: float, text: str = "") -> None:
        bars.update(task, completed=max(0.0, min(100.0, float(percent))), description=clipped(str(text)))

    return show


# --- what is left behind


def _check_folder(folder: Path) -> None:
    """Raise CannotStore where the folder can't be made or written; leaves nothing, for the analysis may fail."""
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        private_folder(folder)
        try:
            with TemporaryFile(dir=folder):
                pass
        finally:
            for each in made:
                each.rmdir()
    except OSError as error:
        raise CannotStore(f"{folder} can't be written: {error.strerror}") from error


def _keep(folder: Path, app: App, slide: Path, trial: Trial) -> list[Path]:
    """Write the files; the picture last, since nothing that drawing does may cost the result."""
    record = json.dumps(trial.record.to_wire(), indent=2, ensure_ascii=False).encode() + b"\n"
    picture = folder / "overlay.png"
    try:
        private_folder(folder)
        picture.unlink(missing_ok=True)  # that of an earlier run shows another result
        files = [_write(folder / "result.json", record)]
        geojson = geojson_of(trial.whole, app.name, origin=qupath_origin(trial.bounds))
        files.append(_write(folder / "result.geojson", geojson))
    except OSError as error:
        raise CannotStore(f"{folder} can't be written: {error.strerror}") from error
    try:
        content, amiss = overlay_png(local_file(slide), trial.record, trial.drawn)
        if amiss:
            click.echo(plain(amiss), err=True)
        files.insert(1, _write(picture, content))
    except (NoPicture, SlideUnreadable) as error:
        click.echo(f"The result is complete, but {picture} could not be drawn: {plain(str(error))}.", err=True)
    except OSError as error:
        click.echo(f"The result is complete, but {picture} can't be written: {error.strerror}.", err=True)
    return files


def _write(path: Path, content: bytes) -> Path:
    replace_private(path, content)
    return path


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
