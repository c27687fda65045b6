"""How fast tiles of several formats are read, at a level's own scale and between levels, by ours and by others.

Each reader reads the same squares of 512 x 512 pixels, turn by turn, in one thread: a grid over the slide, and random
places. OpenSlide's pixels between levels are resized by Pillow, as each of its users has to do. `libjpeg-turbo` only
decodes the same tiles' bytes, which are in memory, at their own scale: what no reader can exceed.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from openslide import OpenSlide, OpenSlideCache
from PIL import Image
from skimage import data

from slidehook.pixels.file_pixels import FilePixels
from slidehook.pixels.source import Box, Pixels
from slidehook.pixels.stored_level import stored_levels
from slidehook.pixels.tile_codecs import decode

SIDE_PX, TILE_PX = 8192, 512
SLIDE_MPP = 0.25
SCALES = (1, 2, 4)
"""Level-0 pixels per pixel: 0.25, 0.5 and 1 µm."""
MOST_TILES = 64
FORMATS: dict[str, tuple[int, dict[str, Any]]] = {
    "jpeg, levels of a quarter": (
        4,
        {"compression": "jpeg", "subsampling": (2, 2), "compressionargs": {"level": 85}},
    ),
    "jpeg, levels of a half": (2, {"compression": "jpeg", "subsampling": (2, 2), "compressionargs": {"level": 85}}),
    "jpeg 2000": (4, {"compression": 33005, "compressionargs": {"level": 40}}),
}
"""The ratio of a level to the next, and how tiles are compressed."""
APERIO = "Aperio Image Library v12.0.15\r\nmade|AppMag = 40|MPP = 0.25"

Read = Callable[[int, int, int], object]
"""Reads a tile: x and y in level-0 pixels, and the scale."""


def make_format(folder: Path, name: str) -> Path:
    """Return the slide of a format: real tissue, repeated; made once."""
    path = folder / f"{name.replace(', ', '-').replace(' ', '-')}-{SIDE_PX}.tiff"
    if path.exists():
        return path
    ratio, how = FORMATS[name]
    block = data.immunohistochemistry()
    times = -(-SIDE_PX // len(block))
    level: Pixels = np.tile(block, (times, times, 1))[:SIDE_PX, :SIDE_PX]
    aside = path.with_name(f".{os.getpid()}.tiff")
    with tifffile.TiffWriter(aside) as file:
        while len(level) >= TILE_PX:
            file.write(
                level, tile=(256, 256), photometric="rgb", description=APERIO, metadata=None, software=None,
                subfiletype=int(len(level) < SIDE_PX), **how,
            )  # fmt: skip
            level = np.asarray(Image.fromarray(level).reduce(ratio))
    aside.replace(path)
    return path


def compare_formats(folder: Path, rounds: int) -> dict[str, Any]:
    """Measure each format at each scale; processor milliseconds a tile, and ours as a multiple of each other."""
    figures: dict[str, Any] = {}
    for name in FORMATS:
        path = make_format(folder, name)
        figures[name] = {}
        for scale in SCALES:
            for kind, places in (("grid", grid(scale)), ("random", random_places(scale))):
                figures[name][f"{SLIDE_MPP * scale:g} um, {kind}"] = compare(path, scale, places, rounds)
    return figures


def grid(scale: int) -> list[tuple[int, int]]:
    """Return the corners of neighbouring tiles, row by row."""
    step = TILE_PX * scale
    places = [(x, y) for y in range(0, SIDE_PX - step + 1, step) for x in range(0, SIDE_PX - step + 1, step)]
    return places[:MOST_TILES]


def random_places(scale: int) -> list[tuple[int, int]]:
    """Return random corners, on whole pixels of the scale."""
    most = (SIDE_PX - TILE_PX * scale) // scale
    places = np.random.default_rng(1).integers(0, most, (MOST_TILES // 2, 2)) * scale
    return [(int(x), int(y)) for x, y in places]


def compare(path: Path, scale: int, places: list[tuple[int, int]], rounds: int) -> dict[str, float]:
    """Read the same tiles with each reader, turn by turn; the first round warms up."""
    with ExitStack() as stack:
        readers = readers_of(path, stack)
        spent: dict[str, list[float]] = {name: [] for name in readers}
        for number in range(rounds + 1):
            for name, read in readers.items():
                if name == "ours":
                    read.forget()  # type: ignore[attr-defined]
                began = time.process_time()
                for x, y in places:
                    read(x, y, scale)
                if number:
                    spent[name].append((time.process_time() - began) / len(places))
    figures = {f"{name}_ms": round(1000 * statistics.median(each), 2) for name, each in spent.items()}
    for name in readers:
        if name != "ours":
            pairs = zip(spent[name], spent["ours"], strict=True)
            figures[f"times_{name}"] = round(statistics.median(other / own for other, own in pairs), 2)
    return figures


# --- readers


class Ours:
    """Reads as `Slide.tiles` does, in one thread."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._source = FilePixels(stack.enter_context(OpenSlide(path)), path)
        stack.callback(self._source.close)

    def __call__(self, x: int, y: int, scale: int) -> object:
        """Read a tile."""
        return self._source.read(Box(x, y, TILE_PX * scale, TILE_PX * scale), TILE_PX, TILE_PX)

    def forget(self) -> None:
        """Drop the decoded tiles that are kept, so that each round decodes them."""
        direct = self._source._opened_directly()  # noqa: SLF001
        if direct is not None:
            direct.forget()


def readers_of(path: Path, stack: ExitStack) -> dict[str, Read]:
    """Return ours, the bare libraries, and those of others that are installed."""
    slide = stack.enter_context(OpenSlide(path))
    slide.set_cache(OpenSlideCache(0))  # ours forgets its tiles before each round, too

    def openslide(x: int, y: int, scale: int) -> object:
        level = slide.get_best_level_for_downsample(scale * 1.001)
        rest = round(scale / slide.level_downsamples[level])
        picture = slide.read_region((x, y), level, (TILE_PX * rest, TILE_PX * rest)).convert("RGB")
        return np.asarray(picture.reduce(rest) if rest > 1 else picture)

    readers: dict[str, Read] = {"ours": Ours(path, stack), "openslide": openslide}
    if "jpeg-2000" not in path.name:
        readers["libjpeg_turbo"] = decoder_alone(path, stack)
    readers |= {name: make(path) for name, make in OTHERS.items() if importlib.util.find_spec(name)}
    return readers


def decoder_alone(path: Path, stack: ExitStack) -> Read:
    """Decode as many tiles of level 0 as one of ours covers of it; their bytes are read before."""
    file = os.open(path, os.O_RDONLY)
    stack.callback(os.close, file)
    (level,) = stored_levels(file, ((SIDE_PX, SIDE_PX),))
    if level is None:
        raise RuntimeError(f"{path} is not as it was made")
    count = (TILE_PX // 256) ** 2
    contents = [level.read(file, number % level.across, number // level.across) for number in range(64)]

    def read(x: int, y: int, scale: int) -> object:
        del scale
        first = (x + y) // 256 % (len(contents) - count)
        return [decode(level, content) for content in contents[first : first + count]]

    return read


def _tiffslide(path: Path) -> Read:
    slide: Any = importlib.import_module("tiffslide").TiffSlide(path)

    def read(x: int, y: int, scale: int) -> object:
        level = slide.get_best_level_for_downsample(scale * 1.001)
        rest = round(scale / slide.level_downsamples[level])
        pixels = slide.read_region((x, y), level, (TILE_PX * rest, TILE_PX * rest), as_array=True)
        return np.asarray(Image.fromarray(pixels).reduce(rest)) if rest > 1 else pixels

    return read


def _large_image(path: Path) -> Read:
    source: Any = importlib.import_module("large_image").open(str(path))

    def read(x: int, y: int, scale: int) -> object:
        side = TILE_PX * scale
        region = {"left": x, "top": y, "width": side, "height": side}
        return source.getRegion(region=region, output={"maxWidth": TILE_PX, "maxHeight": TILE_PX}, format="numpy")

    return read


def _fastslide(path: Path) -> Read:
    slide: Any = importlib.import_module("fastslide").FastSlide.from_file_path(str(path))

    def read(x: int, y: int, scale: int) -> object:
        level = max(number for number, each in enumerate(slide.level_downsamples) if each <= scale * 1.001)
        own = slide.level_downsamples[level]
        rest = round(scale / own)
        at = slide.convert_level0_to_level_native(x, y, level)
        pixels = np.asarray(slide.read_region(location=at, level=level, size=(TILE_PX * rest, TILE_PX * rest)))
        return np.asarray(Image.fromarray(pixels).reduce(rest)) if rest > 1 else pixels

    return read


OTHERS: dict[str, Callable[[Path], Read]] = {
    "tiffslide": _tiffslide,
    "large_image": _large_image,
    "fastslide": _fastslide,
}
