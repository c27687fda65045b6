"""The command `slidehook`."""

from __future__ import annotations

import errno
import json
import sys
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slidehook.app import App
from slidehook.cli.jobs import jobs
from slidehook.cli.run import run
from slidehook.dpat.iaapi.versions import API_VERSION, SOFTWARE_VERSION
from slidehook.errors import SettingsInvalid, SlidehookError, SlideUnreadable
from slidehook.registry.fingerprint import fingerprint
from slidehook.registry.registry import load_apps
from slidehook.settings import read_settings
from slidehook.terminal import plain

PIPE_WIDTH = 160


class _Group(click.Group):
    """A group whose commands end with one sentence and exit status 1 where slidehook finds something wrong."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SlidehookError as error:
            detail = f": {error.detail}" if isinstance(error, SlideUnreadable) and error.detail else ""
            lines = "\n" if isinstance(error, SettingsInvalid) else ""  # a line for each fault
            raise click.ClickException(plain(f"{error}{detail}".rstrip(".") + ".", keep=lines)) from error
        except BrokenPipeError:
            sys.exit(0)  # the reader, such as `head`, has seen enough

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EIO, errno.EBADF}:
                raise
            sys.stdout = None  # Python would try once more to write what it still holds
            click.echo(f"Error: the output can't be written: {error.strerror}.", err=True)
            sys.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(SOFTWARE_VERSION, message=f"slidehook %(version)s, IA-API {API_VERSION}")
def main() -> None:
    """Look after slidehook, which runs image analyses for Sectra DPAT.

    Settings come from the environment (SLIDEHOOK_…) or from .env in this folder.
    """


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def apps(*, as_json: bool) -> None:
    """List the installed apps."""
    registry = load_apps(read_settings())
    if as_json:
        broken = [{"entryPoint": each.entry_point, "reason": each.reason} for each in registry.broken]
        unready = [{"id": each.app.id, "name": each.app.name, "lacks": each.lacks} for each in registry.unready]
        found = {"apps": [*map(_as_json, registry.values())], "unready": unready, "broken": broken}
        click.echo(json.dumps(found, indent=2))
        return
    table = Table(box=None, header_style="bold")
    for title in ("App", "Name", "Version", "Fingerprint", "Input", "Route", "Needs"):
        table.add_column(title, overflow="fold")
    for app in registry.values():
        needs = ", ".join(sorted(app.needs))
        table.add_row(
            *map(escape, (app.id, app.name, app.version, fingerprint(app), app.input.type, app.route, needs))
        )
    console = Console(highlight=False)
    # A table that goes into a file or a pipe has no edge to be cut at.
    console.width = console.width if console.is_terminal else PIPE_WIDTH
    console.print(table)
    for each in registry.unready:
        click.echo(f"{each.app.id} is not available yet: {each.lacks}")
    for broken_app in registry.broken:
        click.echo(f"{broken_app.entry_point} does not load: {plain(broken_app.reason)}", err=True)


def _as_json(app: App) -> dict[str, Any]:
    defaults, values = type(app).params.model_dump(mode="json"), app.params.model_dump(mode="json")
    return {
        "id": app.id,
        "name": app.name,
        "version": app.version,
        "fingerprint": fingerprint(app),
        "manufacturer": app.manufacturer,
        "input": app.input.type,
        "route": app.route,
        "needs": sorted(app.needs),
        "dependsOn": app.depends_on,
        "priority": app.priority,
        "timeoutSeconds": app.timeout,
        "memoryGb": app.memory_gb,
        "maxPolygons": app.max_polygons,
        "maxPoints": app.max_points,
        "maxPatches": app.max_patches,
        "params": {name: {"default": defaults.get(name), "value": value} for name, value in values.items()},
    }


main.add_command(jobs)
main.add_command(run)
