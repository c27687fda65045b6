"""The command `slidehook simulator`."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any, get_args

import click

from slidehook.simulator.options import SOFTWARE_VERSIONS, Options, PatchKind
from slidehook.simulator.server import Simulator

EXTRA = frozenset({"pydicom", "pyvips"})
"""The packages of the extra `simulator`."""


@click.command(context_settings={"show_default": True})
@click.option(
    "--slides",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder of slides: one file each, or one folder each for a slide of several files.",
)
@click.option("--sample", is_flag=True, help="Create two sample slides if the folder is empty or missing.")
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", default=0, help="Port to listen on; 0 selects a free one.")
@click.option("--public-host", help="Host name in the callback URL, by which the apps reach this host.")
@click.option(
    "--api-version",
    type=click.Choice(list(SOFTWARE_VERSIONS)),
    default="1.10",
    help="Version of the IA-API to simulate.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="Reject whatever a real server might reject: calls and answers without version headers, incomplete results, "
    "apps without /info, a trailing slash.",
)
@click.option("--token-lifetime", "token_lifetime_s", default=3600.0, help="Seconds for which a token is valid.")
@click.option(
    "--update-methods",
    type=click.Choice(["both", "PATCH", "PUT"]),
    default="both",
    help="HTTP methods that update a result.",
)
@click.option(
    "--patch",
    type=click.Choice(list(get_args(PatchKind))),
    default="replace",
    help="Effect of an update by PATCH: replace, merge, or fail with this status.",
)
@click.option("--refuse-newer", is_flag=True, help="Reject calls that state a newer version of the IA-API.")
@click.option(
    "--multipart",
    type=click.Choice(["related", "form-data"]),
    default="related",
    help="Multipart type for a slide of several files.",
)
@click.option("--delay", "delay_s", default=0.0, help="Seconds to wait before serving each IA-API call.")
@click.option("--user", default="slidehook", help="User name of the service account that may fetch tokens.")
@click.option(
    "--password",
    envvar="SIMULATOR_PASSWORD",
    default="slidehook",
    show_default=False,
    help="Its password; better passed in SIMULATOR_PASSWORD.",
)
@click.option("--verbose", is_flag=True, help="Log each request to stderr.")
def main(slides: Path, *, sample: bool, host: str, port: int, public_host: str | None, **settings: Any) -> None:
    """Simulate Sectra DPAT: serve slides over the IA-API, call apps, store their results.

    By default it accepts whatever real servers are known to accept. --strict accepts only what the IA-API specifies,
    which suits tests of your own app.

    Prints its URL once it listens, and runs until SIGINT or SIGTERM. Its own endpoints, below /sim, require no
    password: use it for demos and tests only, never with a patient's slides.
    """
    if sample and _can_take_samples(slides):
        _make_samples(slides)
    try:
        simulator = Simulator(slides, Options(**settings), host=host, port=port, public_host=public_host)
        simulator.start()
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    _run(simulator)


def _make_samples(folder: Path) -> None:
    try:
        # Imported here, because only the sample slides need the extra's packages.
        from slidehook.simulator.samples import sample_folder  # noqa: PLC0415
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRA:
            raise
        raise click.ClickException(
            f"--sample needs the package {package}: install slidehook with its extra `simulator`, "
            "as ./demo_run.sh does."
        ) from error
    sample_folder(folder)


def _can_take_samples(folder: Path) -> bool:
    """Whether the folder is empty, except perhaps for incomplete sample slides."""
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
