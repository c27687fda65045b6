"""The command `slidehook`. A subcommand's module is imported when the subcommand is called."""

from __future__ import annotations

import errno
import sys
from importlib import import_module
from typing import Any

import click

from slidehook.errors import SettingsInvalid, SlidehookError, SlideUnreadable
from slidehook.terminal import plain

COMMANDS = {
    "apps": ("slidehook.cli.apps:apps", "List the installed apps."),
    "jobs": ("slidehook.cli.jobs:jobs", "List, show, retry, cancel and purge jobs."),
    "run": ("slidehook.cli.run:run", "Run an app on a slide of this machine, without any server."),
    "simulator": (
        "slidehook.simulator.cli:main",
        "Simulate Sectra DPAT: serve slides over the IA-API, call apps, store their results.",
    ),
}
"""Each subcommand: where it is defined, and its first sentence, so that `slidehook --help` need not import it."""


class _Group(click.Group):
    """A group whose commands end with one sentence and exit status 1 where slidehook finds something wrong."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in COMMANDS.items()])

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


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from slidehook.dpat.iaapi.versions import API_VERSION  # noqa: PLC0415 - reads all metadata
    from slidehook.version import SOFTWARE_VERSION  # noqa: PLC0415 - reads all metadata

    click.echo(f"slidehook {SOFTWARE_VERSION}, IA-API {API_VERSION}")
    ctx.exit()


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Look after slidehook, which runs image analyses for Sectra DPAT.

    Settings come from the environment (SLIDEHOOK_…) or from .env in this folder.
    """
