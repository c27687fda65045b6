"""`slidehook apps`: the installed apps, and why one of them is not offered."""

from __future__ import annotations

import json
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from slidehook.app import App
from slidehook.registry.fingerprint import fingerprint
from slidehook.registry.registry import load_apps
from slidehook.settings import read_settings
from slidehook.terminal import plain

PIPE_WIDTH = 160


@click.command()
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
