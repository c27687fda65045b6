"""The command `slidehook`."""

from __future__ import annotations

import json
import sys
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from slidehook.cli_jobs import jobs
from slidehook.errors import SlidehookError
from slidehook.iaapi.versions import API_VERSION, SOFTWARE_VERSION
from slidehook.registry import load_apps
from slidehook.settings import read_settings


class _Group(click.Group):
    """A group whose commands end with one sentence and exit status 1 where slidehook finds something wrong."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SlidehookError as error:
            raise click.ClickException(f"{error}".rstrip(".") + ".") from error
        except BrokenPipeError:
            sys.exit(0)  # the reader, such as `head`, has seen enough


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
    rows = [
        {"id": app.id, "name": app.name, "version": app.version, "input": app.input.type, "route": app.route}
        for app in registry.values()
    ]
    if as_json:
        broken = [{"entryPoint": each.entry_point, "reason": each.reason} for each in registry.broken]
        click.echo(json.dumps({"apps": rows, "broken": broken}, indent=2))
        return
    table = Table(box=None, header_style="bold")
    for title in ("App", "Name", "Version", "Input", "Route"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*row.values())
    Console().print(table)
    for each in registry.broken:
        click.echo(f"{each.entry_point} does not load: {each.reason}", err=True)


main.add_command(jobs)
