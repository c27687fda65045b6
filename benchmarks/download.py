"""How fast slides come: `python -m benchmarks.download [--mib N] [--dir DIR]`; prints JSON.

Our download, as a worker does it (each file checked and fsynced), and curl from the same server to the same disk,
turn by turn: of a slide of one file, and of one of several in a multipart answer. And how much memory ours takes.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import click

from benchmarks.file_server import FileServer
from benchmarks.queue import scratch
from slidehook.dpat.fetching import fetch_files
from slidehook.dpat.iaapi.client import DpatServer
from slidehook.settings import Settings

FILES = 8
"""How many files the slide of several has."""
ROUNDS = 7
SMALL_MIB = 64
MIB = 1 << 20


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--mib", default=1024, show_default=True, type=click.IntRange(SMALL_MIB), help="The slide's size.")
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path), help="Where to measure; default: a temporary folder."
)
def main(mib: int, folder: Path | None) -> None:
    """Measure the download and print JSON."""
    curl = shutil.which("curl")
    if curl is None:
        raise click.ClickException("curl is not installed: there is nothing to compare with")
    with scratch(folder) as base:
        figures: dict[str, Any] = {"mib": mib}
        with FileServer(_make_files(base / "large", mib)) as server:
            for kind in ("one", "several"):
                print(f"{kind} …", file=sys.stderr)
                figures[kind] = compare(curl, f"{server.url}/{kind}", base, mib)
            figures["memory_growth_mib"] = {f"of_{mib}": _memory(server, base)}
        with FileServer(_make_files(base / "small", SMALL_MIB)) as server:
            figures["memory_growth_mib"][f"of_{SMALL_MIB}"] = _memory(server, base)
        print(json.dumps(figures, indent=2))


def _make_files(folder: Path, mib: int) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"level-{number}.dcm" for number in range(FILES)]
    for path in paths:
        with path.open("wb") as file:
            for _ in range(mib // FILES):
                file.write(os.urandom(MIB))
    return paths


def compare(curl: str, url: str, base: Path, mib: int) -> dict[str, float]:
    """Download turn by turn with curl and with ours: the median rates, and the median of the rounds' ratios."""
    by_curl: list[float] = []
    curl_and_fsync: list[float] = []
    ours: list[float] = []
    for number in range(ROUNDS):
        seconds, seconds_with_fsync = _with_curl(curl, url, base / "curl")
        mine = _in_child(_ours, url, base / "ours")["seconds"]
        if number:  # the first round warms the cache up
            by_curl.append(seconds)
            curl_and_fsync.append(seconds_with_fsync)
            ours.append(mine)
    return {
        "ours_mib_per_s": round(mib / statistics.median(ours)),
        "curl_mib_per_s": round(mib / statistics.median(by_curl)),
        "ratio_to_curl": _ratio(by_curl, ours),
        "ratio_to_curl_and_fsync": _ratio(curl_and_fsync, ours),
    }


def _ratio(theirs_s: list[float], ours_s: list[float]) -> float:
    return round(statistics.median(theirs / ours for theirs, ours in zip(theirs_s, ours_s, strict=True)), 2)


def _with_curl(curl: str, url: str, target: Path) -> tuple[float, float]:
    """Return the seconds that curl takes, and those until its file is on the disk as well."""
    os.sync()
    began = time.perf_counter()
    subprocess.run([curl, "--silent", "--fail", "--output", target, f"{url}/slides/S/files"], check=True)  # noqa: S603
    done = time.perf_counter()
    with target.open("rb") as file:
        os.fsync(file.fileno())
    on_disk = time.perf_counter()
    target.unlink()
    return done - began, on_disk - began


def _in_child(work: Callable[..., dict[str, float]], *args: Any) -> dict[str, float]:
    """Work in a fresh process: a worker's, as far as memory and caches go."""
    mine, theirs = get_context("spawn").Pipe()
    child = get_context("spawn").Process(target=_reported, args=(theirs, work, args))
    child.start()
    theirs.close()
    found: dict[str, float] = mine.recv()
    child.join()
    return found


def _reported(report: Connection, work: Callable[..., dict[str, float]], args: tuple[Any, ...]) -> None:
    report.send(work(*args))


def _ours(url: str, folder: Path) -> dict[str, float]:
    """Download as a worker does; returns the seconds, and by how many MiB the process grew at most."""
    client = DpatServer(url, Settings(_env_file=None)).client("token")
    os.sync()
    folder.mkdir()
    before = _status_mib("VmRSS")
    began = time.perf_counter()
    fetch_files(client, "S", lambda: folder, lambda *_: None)
    seconds = time.perf_counter() - began
    grown = _status_mib("VmHWM") - before
    shutil.rmtree(folder)
    return {"seconds": seconds, "grown_mib": grown}


def _status_mib(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def _memory(server: FileServer, base: Path) -> float:
    """Return by how many MiB our process grows at most, whichever way the slide comes."""
    grown = [_in_child(_ours, f"{server.url}/{kind}", base / "ours")["grown_mib"] for kind in ("one", "several")]
    return round(max(grown), 1)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.download")
