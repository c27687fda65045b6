"""How fast an app reads a slide: `python -m benchmarks.tiles [--dir DIR]`; prints JSON.

`Slide.tiles` with some reader threads, and as many bare OpenSlide readers (threads, and processes, each with the file
opened for itself) on the same tiles of a slide with 20,000 x 20,000 pixels, turn by turn. How much memory ours takes;
how long the apps `tissue` and `focus` need, and how much of that `focus` spends on its own arithmetic. Other formats
and scales: `benchmarks.formats`.
Each ratio is the median of the rounds' ratios. The processors' seconds tell the same when the machine is busy.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyvips
from openslide import OpenSlide
from skimage import data

from benchmarks.formats import compare_formats
from slidehook import App, Slide
from slidehook.apps.focus import Focus
from slidehook.apps.tissue import Tissue
from slidehook.models import ImageInfo
from slidehook.pixels.file_pixels import FilePixels
from slidehook.pixels.source import Box, Pixels
from slidehook.pixels.tiles import Mask
from slidehook.running.run_app import run_app

SIDE_PX = 20_000
SLIDE_MPP = 0.25
TILE_PX, TILE_MPP = 512, 0.5
LEVEL, SHRINK = 1, 2
"""Where a pixel has `TILE_MPP`."""
INFO = ImageInfo(id="benchmark")

Call = tuple[tuple[int, int], int, tuple[int, int]]
"""What `read_region` is asked for: place, level and size."""


@dataclass(frozen=True)
class Spent:
    """Seconds on the clock, and those of the processors."""

    wall: float
    cpu: float


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    default=Path(tempfile.gettempdir()) / "slidehook-benchmark",
    help="Where the slide is made, and kept for the next time; default: a folder for temporary files.",
)
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1))
def main(folder: Path, rounds: int) -> None:
    """Measure reading tiles and print JSON."""
    path = make_slide(folder)
    cores = len(os.sched_getaffinity(0))
    figures: dict[str, Any] = {
        "slide": {"side_px": SIDE_PX, "mib": path.stat().st_size >> 20, "tile_px": TILE_PX, "tile_mpp": TILE_MPP},
        "cores": cores,
        "tiles": {f"readers_{number}": compare_readers(path, number, rounds) for number in sorted({1, cores})},
        "formats": compare_formats(folder, rounds),
        "memory": _in_child(memory, path),
        "tissue": tissue_seconds(path, rounds),
        "focus": focus_and_reading(path, cores, rounds),
    }
    print(json.dumps(figures, indent=2))


def make_slide(folder: Path) -> Path:
    """Return the slide: real tissue, repeated in a lobed outline, that covers about 2/5 of it; made once."""
    path = folder / f"tiles-{SIDE_PX}.tiff"
    if path.exists():
        return path
    print("making the slide …", file=sys.stderr)
    folder.mkdir(parents=True, exist_ok=True)
    picture = data.immunohistochemistry()
    pair = np.concatenate([picture, picture[:, ::-1]], axis=1)
    block = pyvips.Image.new_from_array(np.concatenate([pair, pair[::-1]], axis=0))
    times = -(-SIDE_PX // block.width)
    tissue = block.replicate(times, times).crop(0, 0, SIDE_PX, SIDE_PX)
    cells = pyvips.Image.new_from_array(np.where(outline(), 255, 0).astype(np.uint8))
    inside = cells.resize(SIDE_PX / cells.width, kernel="linear").crop(0, 0, SIDE_PX, SIDE_PX)
    aside = path.with_name(f".{os.getpid()}.tiff")
    (inside > 127).ifthenelse(tissue, 243).cast("uchar").copy(interpretation="srgb").tiffsave(
        str(aside), tile=True, pyramid=True, compression="jpeg", Q=85, tile_width=256, tile_height=256,
        xres=1000 / SLIDE_MPP, yres=1000 / SLIDE_MPP, resunit="cm",
    )  # fmt: skip
    aside.replace(path)
    return path


def outline() -> Mask:
    """Mark the tissue: bool, 625 x 625 cells over the whole slide."""
    y, x = np.mgrid[-1:1:625j, -1:1:625j]
    angle = np.arctan2(y, x)
    inside: Mask = np.hypot(x, y) < 0.72 + 0.08 * np.cos(5 * angle) + 0.05 * np.cos(3 * angle + 1)
    return inside


def grid() -> list[Call]:
    """Return what a bare reader is asked for to read the whole slide."""
    step = TILE_PX * SHRINK
    return [((x, y), LEVEL, (TILE_PX, TILE_PX)) for y in range(0, SIDE_PX, step) for x in range(0, SIDE_PX, step)]


# --- readers


def bare(path: Path, calls: list[Call]) -> float:
    """Read with OpenSlide alone; returns the processor's seconds of this thread."""
    began = time.thread_time()
    with OpenSlide(path) as slide:
        for call in calls:
            slide.read_region(*call)
    return time.thread_time() - began


def bare_threads(path: Path, calls: list[Call], readers: int) -> Spent:
    """Read with as many threads, each with the file opened for itself."""
    with ThreadPoolExecutor(readers) as pool:
        list(pool.map(time.sleep, [0.01] * readers))  # so that all are started
        began = time.perf_counter()
        cpu = list(pool.map(lambda number: bare(path, calls[number::readers]), range(readers)))
        return Spent(time.perf_counter() - began, sum(cpu))


def bare_processes(path: Path, calls: list[Call], readers: int) -> Spent:
    """Read with as many processes."""
    with get_context("spawn").Pool(readers) as pool:
        pool.map(time.sleep, [0.1] * readers, chunksize=1)
        began = time.perf_counter()
        cpu = pool.starmap(bare, [(path, calls[number::readers]) for number in range(readers)], chunksize=1)
        return Spent(time.perf_counter() - began, sum(cpu))


def ours(path: Path, readers: int) -> Spent:
    """Read as an app does."""
    with Slide(path, INFO) as slide:
        began, cpu = time.perf_counter(), time.process_time()
        for _ in slide.tiles(mpp=TILE_MPP, size=TILE_PX, readers=readers):
            pass
        return Spent(time.perf_counter() - began, time.process_time() - cpu)


def compare_readers(path: Path, readers: int, rounds: int) -> dict[str, float]:
    """Read the whole slide turn by turn, `rounds` times after one that warms the cache up."""
    print(f"{readers} readers …", file=sys.stderr)
    calls = grid()
    kinds: dict[str, Callable[[], Spent]] = {
        "ours": lambda: ours(path, readers),
        "bare_threads": lambda: bare_threads(path, calls, readers),
        "bare_processes": lambda: bare_processes(path, calls, readers),
    }
    spent = _by_turns(kinds, rounds)
    figures: dict[str, float] = {
        f"{name}_tiles_per_s": round(len(calls) / _median(each.wall for each in spent[name])) for name in kinds
    }
    for other in ("bare_threads", "bare_processes"):
        figures[f"ratio_to_{other}"] = _ratio(spent[other], spent["ours"])
        figures[f"ratio_to_{other}_by_processor"] = _ratio(spent[other], spent["ours"], "cpu")
    return figures


def memory(path: Path) -> dict[str, float]:
    """Read 1.1 GiB of pixels, the slide at full size; returns the process's MiB after some tiles, and at most."""
    with Slide(path, INFO) as slide:
        tiles = slide.tiles(mpp=SLIDE_MPP, size=TILE_PX)
        for _ in range(100):
            next(tiles)
        early = _status_mib("VmRSS")
        count = 100 + sum(1 for _ in tiles)
    return {"tiles": count, "mib_after_100": round(early), "mib_at_most": round(_status_mib("VmHWM"))}


# --- apps


class Recorder(FilePixels):
    """Keeps what it asked OpenSlide for: the calls that a bare reader is to repeat."""

    def __init__(self, slide: OpenSlide) -> None:
        super().__init__(slide)
        self.boxes: list[Box] = []

    def read(self, box: Box, columns: int, rows: int, *, exact: bool = False, into: Pixels | None = None) -> Pixels:
        """See `PixelSource`."""
        if columns == TILE_PX and box.width == TILE_PX * SHRINK:
            self.boxes.append(box)
        return super().read(box, columns, rows, exact=exact, into=into)


def analyse(app: App, path: Path) -> Spent:
    """Run an app on the slide, as a worker does."""
    with Slide(path, INFO) as slide:
        began, cpu = time.perf_counter(), time.process_time()
        run_app(app, slide, lambda *_: None)
        return Spent(time.perf_counter() - began, time.process_time() - cpu)


def tissue_seconds(path: Path, rounds: int) -> dict[str, float]:
    """Run `tissue`."""
    print("tissue …", file=sys.stderr)
    spent = [analyse(Tissue(), path) for _ in range(rounds)]
    return {
        "seconds": round(_median(each.wall for each in spent), 2),
        "processor_seconds": round(_median(each.cpu for each in spent), 2),
    }


def focus_and_reading(path: Path, cores: int, rounds: int) -> dict[str, float]:
    """Run `focus`, and read the same tiles bare, turn by turn; count the tiles that it read without need."""
    print("focus …", file=sys.stderr)
    boxes = _tiles_of_focus(path)
    calls = [((round(box.x), round(box.y)), LEVEL, (TILE_PX, TILE_PX)) for box in boxes]
    kinds: dict[str, Callable[[], Spent]] = {
        "focus": lambda: analyse(Focus(), path),
        "bare": lambda: bare_threads(path, calls, cores),
    }
    spent = _by_turns(kinds, rounds)
    return {
        "tiles_read": len(boxes),
        "tiles_of_the_slide": len(grid()),
        "tiles_read_without_tissue": sum(1 for box in boxes if not _touches_tissue(box)),
        "seconds": round(_median(each.wall for each in spent["focus"]), 2),
        "bare_reading_seconds": round(_median(each.wall for each in spent["bare"]), 2),
        "bare_reading_by_focus": _ratio(spent["bare"], spent["focus"]),
        "bare_reading_by_focus_by_processor": _ratio(spent["bare"], spent["focus"], "cpu"),
        "own_arithmetic_of_processor_seconds": round(_median(_own_share(path) for _ in range(rounds)), 2),
    }


def _tiles_of_focus(path: Path) -> list[Box]:
    with OpenSlide(path) as opened:
        source = Recorder(opened)
        with Slide(path, INFO, pixels=source) as slide:
            run_app(Focus(), slide, lambda *_: None)
    return sorted(source.boxes, key=lambda box: (box.y, box.x))


def _touches_tissue(box: Box) -> bool:
    """Return whether a tile touches the tissue, or comes as near to it as a pixel of the overview."""
    inside = outline()
    scale, near = len(inside) / SIDE_PX, 1
    left, top = max(0, int(box.x * scale) - near), max(0, int(box.y * scale) - near)
    right, bottom = int((box.x + box.width) * scale) + 1 + near, int((box.y + box.height) * scale) + 1 + near
    return bool(inside[top:bottom, left:right].any())


def _own_share(path: Path) -> float:
    """Return the part of the processors' time that `focus` spends outside of the readers' threads."""
    own, all_threads = time.thread_time(), time.process_time()
    analyse(Focus(), path)
    return (time.thread_time() - own) / (time.process_time() - all_threads)


# --- figures


def _by_turns(kinds: dict[str, Callable[[], Spent]], rounds: int) -> dict[str, list[Spent]]:
    spent: dict[str, list[Spent]] = {name: [] for name in kinds}
    for number in range(rounds + 1):
        for name, work in kinds.items():
            found = work()
            if number:  # the first round warms the cache up
                spent[name].append(found)
    return spent


def _ratio(theirs: list[Spent], mine: list[Spent], kind: str = "wall") -> float:
    pairs = zip(theirs, mine, strict=True)
    return round(_median(getattr(other, kind) / getattr(own, kind) for other, own in pairs), 2)


def _median(values: Iterator[float]) -> float:
    return statistics.median(values)


def _in_child(work: Callable[[Path], dict[str, float]], path: Path) -> dict[str, float]:
    """Work in a fresh process, whose memory nothing else has grown."""
    print(f"{work.__name__} …", file=sys.stderr)
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (path,))


def _status_mib(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.tiles")
