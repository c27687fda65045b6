"""`python -m slidehook.demo`, called by demo_run.sh."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import click
import requests
from rich.console import Console
from rich.json import JSON
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from slidehook.demo.dpat import DemoFailed, SimulatedDpat, direct_session
from slidehook.demo.processes import SLIDEHOOK, DemoProcesses, free_port
from slidehook.dpat.changes import result_of
from slidehook.dpat.iaapi.models import StoredResult
from slidehook.errors import SlidehookError
from slidehook.geometry import Frame
from slidehook.private import open_private
from slidehook.results.picture import draw_result
from slidehook.slide import find_slide_file, open_slide

REPOSITORY = Path(__file__).resolve().parents[2]
ROUTE = "/dpat_ia_app_demo/wholeslide"
PICTURE_PIXELS = 1024
ANALYSIS_S = 90.0
USUAL_PORT = 5006
console = Console(highlight=False)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--once", is_flag=True, help="Exit when the analyses are done, instead of running until Ctrl-C.")
@click.option(
    "--out",
    default="demo_out",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the slides, the queue, the logs and the pictures.",
)
def main(once: bool, out: Path) -> None:
    """Analyse real slides with a simulated DPAT, the webserver and a worker."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    out = out.absolute()
    try:
        with DemoProcesses(out) as processes:
            dpat, web_url = _start_processes(processes, out)
            _run_scenario(dpat, web_url, out)
            if not once:
                console.print(
                    f"\nStill running: DPAT (simulated) {dpat.url}, webserver {web_url}. Press Ctrl-C to stop.",
                    soft_wrap=True,
                )
                signal.pause()
    except KeyboardInterrupt:
        console.print("Stopped.")
    except SlidehookError as error:
        sys.exit(f"demo: {error}")
    except requests.RequestException as error:
        sys.exit(f"demo: a part of the demo can't be reached: {error}")


def _start_processes(processes: DemoProcesses, out: Path) -> tuple[SimulatedDpat, str]:
    """Start the simulator, and the webserver and a worker by the scripts that a site uses."""
    with console.status("starting the simulated DPAT, the webserver and a worker"):
        processes.start(
            "simulator",
            [SLIDEHOOK, "simulator", "--sample", "--slides", str(out / "slides")],
            env={},
        )
        port = free_port(USUAL_PORT)
        env = {
            "SLIDEHOOK_HOST": "127.0.0.1",
            "SLIDEHOOK_PORT": str(port),
            "SLIDEHOOK_QUEUE_DIR": str(out / "queue"),
            "SLIDEHOOK_DATA_DIR": str(out / "data"),
        }
        processes.start("webserver", [str(REPOSITORY / "flask_run.sh")], env)
        processes.start("worker", [str(REPOSITORY / "worker_run.sh")], env)
        processes.wait_for("simulator", lambda: _url_in(processes.text("simulator")) is not None)
        web_url = f"http://127.0.0.1:{port}"
        processes.wait_for("webserver", lambda: _answers(f"{web_url}/healthz"))
        processes.wait_for("worker", lambda: "worker ready" in processes.text("worker"))
    sim_url = _url_in(processes.text("simulator")) or ""
    console.print(
        f"up: DPAT (simulated) at {sim_url}, webserver at {web_url}, one worker; logs in {processes.logs}",
        soft_wrap=True,
    )
    return SimulatedDpat(sim_url), web_url


def _run_scenario(dpat: SimulatedDpat, web_url: str, out: Path) -> None:
    app = dpat.register(web_url + ROUTE)
    app_id = app["applicationId"]
    console.print(f"registered, as by an administrator: {app['displayName']!r} at {web_url + ROUTE}", soft_wrap=True)
    imported, opened, *_ = [slide["id"] for slide in dpat.slides()]
    with Progress(
        TextColumn("{task.fields[source]:<28}"), BarColumn(40), TextColumn("{task.description}"), TimeElapsedColumn(),
        console=console,
    ) as bars:  # fmt: skip
        watched = {
            imported: bars.add_task("", total=100, source=f"imported: {imported}"),
            opened: bars.add_task("", total=100, source=f"user's request: {opened}"),
        }
        dpat.notify(imported)
        dpat.invoke(app_id, opened)
        results = _watch(dpat, app_id, watched, bars)
    for slide_id, result in results.items():
        path = _draw(out, slide_id, result)
        console.print(f"\nThe result in DPAT for slide {slide_id}; a picture of it is in {path}", soft_wrap=True)
        console.print(JSON(json.dumps({name: each for name, each in result.items() if name != "history"})))


def _watch(dpat: SimulatedDpat, app_id: str, watched: dict[str, TaskID], bars: Progress) -> dict[str, dict[str, Any]]:
    """Show progress as DPAT's users see it; return the final result of each slide."""
    final: dict[str, dict[str, Any]] = {}
    deadline = time.monotonic() + ANALYSIS_S
    while len(final) < len(watched):
        for slide_id, task in watched.items():
            result = dpat.result(app_id, slide_id)
            if result is None or slide_id in final:
                continue
            percent = result["displayProperties"].get("Progress (%)", 100)
            bars.update(task, completed=percent, description=result["displayResult"])
            if result["displayResult"].startswith("failed"):
                raise DemoFailed(f"the analysis of {slide_id} {result['displayResult']}")
            if "Progress (%)" not in result["displayProperties"]:
                final[slide_id] = result
        if time.monotonic() > deadline:
            raise DemoFailed(f"no final result within {ANALYSIS_S:.0f} s")
        time.sleep(0.1)
    return final


def _draw(out: Path, slide_id: str, result: dict[str, Any]) -> Path:
    """Draw the result on an overview of the slide."""
    folder = out / "slides" / slide_id
    path = find_slide_file(folder) if folder.is_dir() else next(folder.parent.glob(f"{slide_id}.tif*"))
    with open_slide(path) as slide:
        overview, frame = slide.get_thumbnail((PICTURE_PIXELS, PICTURE_PIXELS)), Frame(*slide.dimensions)
    target = out / f"{slide_id}.png"
    with open_private(target) as file:
        draw_result(overview, result_of(StoredResult.model_validate(result), frame), frame).save(file, "PNG")
    return target


def _url_in(text: str) -> str | None:
    match = re.search(r"http://[\w.:-]+", text)
    return match[0] if match else None


def _answers(url: str) -> bool:
    try:
        with direct_session() as session:
            return session.get(url, timeout=5).ok
    except requests.RequestException:
        return False


if __name__ == "__main__":
    main(prog_name="demo_run.sh")
