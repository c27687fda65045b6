"""The command line: `slidehook simulator --slides DIR`."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any, get_args

import click

from slidehook.simulator.options import SOFTWARE_VERSIONS, Options, PatchKind
from slidehook.simulator.server import Simulator


@click.command(context_settings={"show_default": True})
@click.option(
    "--slides",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of slides: one file each, or one folder each for a slide of several files.",
)
@click.option("--sample", is_flag=True, help="Make two sample slides when the folder is empty or missing.")
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", default=0, help="Port to listen on; 0 takes a free one.")
@click.option("--public-host", help="Name by which the apps reach this host, for the callback URL.")
@click.option("--api-version", type=click.Choice(list(SOFTWARE_VERSIONS)), default="1.10", help="IA-API to play.")
@click.option(
    "--strict",
    is_flag=True,
    help="Refuse whatever real servers might: calls and answers without version headers, results without all fields, "
    "apps without /info, a slash at a path's end.",
)
@click.option("--token-lifetime", "token_lifetime_s", default=3600.0, help="Seconds that a token is taken.")
@click.option(
    "--update-methods",
    type=click.Choice(["both", "PATCH", "PUT"]),
    default="both",
    help="Methods by which results can be updated.",
)
@click.option(
    "--patch",
    type=click.Choice(list(get_args(PatchKind))),
    default="replace",
    help="What an update by PATCH does: replace, merge, or be refused with this status.",
)
@click.option("--refuse-newer", is_flag=True, help="Refuse calls that name a newer version of the IA-API.")
@click.option(
    "--multipart",
    type=click.Choice(["related", "form-data"]),
    default="related",
    help="How a slide of several files is sent.",
)
@click.option("--delay", "delay_s", default=0.0, help="Seconds that each IA-API call waits before it is served.")
@click.option("--user", default="slidehook", help="Service account that may fetch tokens.")
@click.option(
    "--password",
    envvar="SIMULATOR_PASSWORD",
    default="slidehook",
    show_default=False,
    help="Its password; better given in SIMULATOR_PASSWORD.",
)
@click.option("--verbose", is_flag=True, help="Log each request to stderr.")
def main(slides: Path, *, sample: bool, host: str, port: int, public_host: str | None, **settings: Any) -> None:
    """Play Sectra DPAT for slidehook: serve slides over the IA-API, call apps, keep their results.

    It takes what real servers have been seen to take from the programs of others; --strict takes only what the IA-API
    says, which suits tests of an app of your own.

    Prints its URL once it listens, and runs until SIGINT or SIGTERM. Its own endpoints, below /sim, ask for no
    password: for demos and tests only, never with a patient's slides.
    """
    if sample and _is_for_samples(slides):
        # Imported only here: the sample slides need packages that nothing else does.
        from slidehook.simulator.samples import sample_folder  # noqa: PLC0415

        sample_folder(slides)
    try:
        simulator = Simulator(slides, Options(**settings), host=host, port=port, public_host=public_host)
        simulator.start()
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    _run(simulator)


def _is_for_samples(folder: Path) -> bool:
    """Say whether nothing lies in the folder but, perhaps, sample slides whose making was broken off."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return all(name.startswith((".", "immuno")) for name in names)


def _run(simulator: Simulator) -> None:
    ended = threading.Event()

    def end(number: int, frame: Any) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    click.echo(simulator.url)
    ended.wait()
    simulator.stop()
