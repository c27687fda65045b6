"""`python -m slidehook.demo`, by demo_run.sh."""

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
from slidehook.demo.stage import PYTHON, Stage, free_port
from slidehook.dpat.iaapi.models import ResultRecord
from slidehook.errors import SlidehookError
from slidehook.private import open_private
from slidehook.results.picture import draw_result
from slidehook.slide import find_slide_file, open_slide

HOUSE = Path(__file__).resolve().parents[2]
ROUTE = "/dpat_ia_app_demo/wholeslide"
PICTURE_PIXELS = 1024
ANALYSIS_S = 90.0
USUAL_PORT = 5006
console = Console(highlight=False)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--once", is_flag=True, help="Leave when the analyses are done, instead of staying up until Ctrl-C.")
@click.option(
    "--out",
    default="demo_out",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the slides, the queue, the logs and the pictures.",
)
def main(once: bool, out: Path) -> None:
    """Show the main job: DPAT (simulated) has real slides analysed by the webserver and a worker."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    out = out.absolute()
    try:
        with Stage(out) as stage:
            dpat, web_url = _raise_curtain(stage, out)
            _play(dpat, web_url, out)
            if not once:
                console.print(
                    f"\nIt all stays up: DPAT (simulated) {dpat.url}, webserver {web_url}. Ctrl-C ends it.",
                    soft_wrap=True,
                )
                signal.pause()
    except KeyboardInterrupt:
        console.print("Taken down.")
    except SlidehookError as error:
        sys.exit(f"demo: {error}")
    except requests.RequestException as error:
        sys.exit(f"demo: a part of the demo can't be reached: {error}")


def _raise_curtain(stage: Stage, out: Path) -> tuple[SimulatedDpat, str]:
    """Start the simulator, the webserver and a worker, by the very scripts that a site uses."""
    with console.status("starting the simulated DPAT, the webserver and a worker"):
        stage.start(
            "simulator",
            [PYTHON, "-u", "-m", "slidehook.simulator", "--sample", "--slides", str(out / "slides")],
            env={},
        )
        port = free_port(USUAL_PORT)
        env = {
            "SLIDEHOOK_HOST": "127.0.0.1",
            "SLIDEHOOK_PORT": str(port),
            "SLIDEHOOK_QUEUE_DIR": str(out / "queue"),
            "SLIDEHOOK_DATA_DIR": str(out / "data"),
        }
        stage.start("webserver", [str(HOUSE / "flask_run.sh")], env)
        stage.start("worker", [str(HOUSE / "worker_run.sh")], env)
        stage.wait_for("simulator", lambda: _url_in(stage.text("simulator")) is not None)
        web_url = f"http://127.0.0.1:{port}"
        stage.wait_for("webserver", lambda: _answers(f"{web_url}/healthz"))
        stage.wait_for("worker", lambda: "worker ready" in stage.text("worker"))
    sim_url = _url_in(stage.text("simulator")) or ""
    console.print(
        f"up: DPAT (simulated) at {sim_url}, webserver at {web_url}, one worker; logs in {stage.logs}", soft_wrap=True
    )
    return SimulatedDpat(sim_url), web_url


def _play(dpat: SimulatedDpat, web_url: str, out: Path) -> None:
    app = dpat.register(web_url + ROUTE)
    app_id = app["applicationId"]
    console.print(
        f"registered as an administrator would: {app['displayName']!r} at {web_url + ROUTE}", soft_wrap=True
    )
    imported, opened, *_ = [slide["id"] for slide in dpat.slides()]
    with Progress(
        TextColumn("{task.fields[who]:<28}"), BarColumn(40), TextColumn("{task.description}"), TimeElapsedColumn(),
        console=console,
    ) as bars:  # fmt: skip
        watched = {
            imported: bars.add_task("", total=100, who=f"imported: {imported}"),
            opened: bars.add_task("", total=100, who=f"user's request: {opened}"),
        }
        dpat.notify(imported)
        dpat.invoke(app_id, opened)
        results = _watch(dpat, app_id, watched, bars)
    for slide_id, result in results.items():
        path = _paint(out, slide_id, result)
        console.print(f"\nWhat DPAT now holds for slide {slide_id}; drawn on it in {path}", soft_wrap=True)
        console.print(JSON(json.dumps({name: each for name, each in result.items() if name != "history"})))


def _watch(dpat: SimulatedDpat, app_id: str, watched: dict[str, TaskID], bars: Progress) -> dict[str, dict[str, Any]]:
    """Show what DPAT shows its users, until each slide has its final result."""
    final: dict[str, dict[str, Any]] = {}
    until = time.monotonic() + ANALYSIS_S
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
        if time.monotonic() > until:
            raise DemoFailed(f"no final result within {ANALYSIS_S:.0f} s")
        time.sleep(0.1)
    return final


def _paint(out: Path, slide_id: str, result: dict[str, Any]) -> Path:
    """Draw the result on an overview of the slide."""
    folder = out / "slides" / slide_id
    path = find_slide_file(folder) if folder.is_dir() else next(folder.parent.glob(f"{slide_id}.tif*"))
    with open_slide(path) as slide:
        overview = slide.get_thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
    target = out / f"{slide_id}.png"
    with open_private(target) as file:
        draw_result(overview, ResultRecord.model_validate(result)).save(file, "PNG")
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
