"""How long the programs take to start: `python -m benchmarks.starts`; prints JSON.

`import slidehook`, `slidehook --help`, `./flask_run.sh` until it answers, `./worker_run.sh` until it is ready. Each
is measured turn by turn with a bare start that does less of the same: Python, Python with click, gunicorn with a bare
Flask application, Python with the libraries of a worker. Each number is the median of the rounds. `processor_seconds`
covers every process that was started; it stays the same on a busy machine.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import click

from slidehook.demo.processes import SLIDEHOOK, free_port

HOUSE = Path(__file__).resolve().parents[1]
MOST_S = 60.0
"""How long a program may take to start."""
LOOK_S = 0.005
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
BARE_WEB = """
from flask import Flask
app = Flask("bare")
app.get("/healthz")(lambda: "ok")
"""
LIBRARIES = "import click, filelock, numpy, openslide, PIL.Image, pydantic_settings, requests, shapely, structlog"


@dataclass(frozen=True)
class Spent:
    """Seconds on the clock, and those of the processors."""

    wall: float
    cpu: float


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="Starts of each program.")
def main(rounds: int) -> None:
    """Measure the starts and print what was found as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        (base / "bare_web.py").write_text(BARE_WEB, encoding="utf-8")
        found = {name: _compared(ours, bare, rounds) for name, (ours, bare) in _starts(base).items()}
    print(json.dumps({"cores": os.cpu_count(), "rounds": rounds, **found}, indent=2))


def _starts(base: Path) -> dict[str, tuple[Callable[[], Spent], Callable[[], Spent]]]:
    """Return each start of ours with the bare one that it is compared with."""
    python = sys.executable
    bare_web = [python, "-m", "gunicorn", "--chdir", str(base), "--workers", "2", "--worker-class", "gthread"]
    return {
        "import_slidehook": (
            lambda: _to_end([python, "-c", "import slidehook"]),
            lambda: _to_end([python, "-c", ""]),
        ),
        "help": (lambda: _to_end([SLIDEHOOK, "--help"]), lambda: _to_end([python, "-c", "import click"])),
        "webserver": (
            lambda: _to_answer(base, [str(HOUSE / "flask_run.sh")], lambda port: []),
            lambda: _to_answer(base, bare_web, lambda port: ["--bind", f"127.0.0.1:{port}", "bare_web:app"]),
        ),
        "worker": (
            lambda: _to_line(base, [str(HOUSE / "worker_run.sh")], "worker ready"),
            lambda: _to_end([python, "-c", LIBRARIES]),
        ),
    }


def _compared(ours: Callable[[], Spent], bare: Callable[[], Spent], rounds: int) -> dict[str, float]:
    ours(), bare()  # what is not in the disk's cache is read
    pairs = [(ours(), bare()) for _ in range(rounds)]
    return {
        "seconds": _median(mine.wall for mine, _ in pairs),
        "processor_seconds": _median(mine.cpu for mine, _ in pairs),
        "bare_seconds": _median(least.wall for _, least in pairs),
        "bare_processor_seconds": _median(least.cpu for _, least in pairs),
        "ratio_to_bare": _median(mine.wall / least.wall for mine, least in pairs),
        "ratio_to_bare_by_processor": _median(mine.cpu / least.cpu for mine, least in pairs),
    }


def _median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 2)


def _to_end(command: list[str]) -> Spent:
    before, began = os.times(), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own commands
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Spent(time.perf_counter() - began, cpu)


def _to_answer(base: Path, command: list[str], arguments: Callable[[int], list[str]]) -> Spent:
    port = free_port(0)
    return _until(base, [*command, *arguments(port)], port, lambda _: _answers(port))


def _to_line(base: Path, command: list[str], line: str) -> Spent:
    return _until(base, command, 0, lambda log: line in log.read_text(encoding="utf-8", errors="replace"))


def _until(base: Path, command: list[str], port: int, ready: Callable[[Path], bool]) -> Spent:
    """Start a program, wait until it is `ready`, which is asked with its log, and end it."""
    settings = {
        "SLIDEHOOK_HOST": "127.0.0.1",
        "SLIDEHOOK_PORT": str(port),
        "SLIDEHOOK_QUEUE_DIR": str(base / "queue"),
        "SLIDEHOOK_DATA_DIR": str(base / "data"),
    }
    log = base / "log"
    began = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 - our own commands
            command, env=os.environ | settings, cwd=base, stdout=file, stderr=file, start_new_session=True
        )
    try:
        while not ready(log):
            if process.poll() is not None or time.perf_counter() - began > MOST_S:
                raise click.ClickException(f"{command[0]} did not start: {log.read_text(errors='replace')}")
            time.sleep(LOOK_S)
        return Spent(time.perf_counter() - began, _processor_seconds(process.pid))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def _processor_seconds(session: int) -> float:
    """Return the seconds of every process of a session, with those of its children that have ended."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[3]) == session:
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_S


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.starts")
