"""Creates the sample slides, a TIFF and a DICOM series with labels: `python -m slidehook.simulator.samples DIR`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from slidehook.simulator.dicom_sample import make_dicom, make_folder
from slidehook.simulator.label import draw_label
from slidehook.simulator.section import draw_section

MPP = 0.25
"""µm per pixel of the sample slides."""

CASE: dict[str, Any] = {
    "staining": {"displayName": "IHC DAB"},
    "specimen": {"anatomy": "Colon", "description": "Sample tissue"},
    "bodyPart": "COLON",
    "examCode": "SAMPLE",
    "examDescription": "Sample slide, made by slidehook's simulator",
    "stationName": "SIMULATOR",
    "accessionNumber": "SAMPLE-0001",
    "accessionNumberIssuer": "SIMULATOR",
    "examId": "SAMPLE-0001",
    "examDateTime": "2024-01-01T12:00:00Z",
    "studyInstanceUid": "1.2.826.0.1.3680043.8.498.1",
}


def make_tiff(path: Path, *, width: int = 6144, height: int = 4608) -> None:
    """Write a tiled pyramidal TIFF (JPEG, 256 px tiles, 0.25 µm per pixel); about 2 s at the default size.

    It is written to a temporary file and renamed, so `path` is complete as soon as it exists.
    """
    pixels_per_mm = 1000 / MPP
    with _complete(path) as aside:
        draw_section(width, height).tiffsave(
            str(aside), tile=True, pyramid=True, compression="jpeg", Q=85, tile_width=256, tile_height=256,
            xres=pixels_per_mm, yres=pixels_per_mm, resunit="cm",
        )  # fmt: skip


def make_label(path: Path, *, lines: tuple[str, ...] = ("SAMPLE 0001", "IHC DAB", "slidehook")) -> None:
    """Write a slide's label, a JPEG of 400 x 360 pixels with these lines of text; it names no person."""
    with _complete(path) as aside:
        draw_label(lines).save(aside, "JPEG", quality=90)


def sample_folder(folder: Path) -> Path:
    """Create the slides `immuno` and `immuno-dicom` in `folder`, and return `folder`.

    Existing files stay unchanged. Each slide appears only once it is complete.
    """
    make_folder(folder)
    _add_slide(folder, "immuno", ("SAMPLE 0001", "IHC DAB", "slidehook"), block="A1")
    _add_slide(folder, "immuno-dicom", ("SAMPLE 0002", "IHC DAB", "slidehook"), block="A2")
    if not (folder / "immuno.tiff").exists():
        make_tiff(folder / "immuno.tiff")
    if not (folder / "immuno-dicom").exists():
        make_dicom(folder / "immuno-dicom")
    return folder


def _add_slide(folder: Path, slide_id: str, lines: tuple[str, ...], *, block: str) -> None:
    record = folder / f"{slide_id}.json"
    if not record.exists():
        content = {**CASE, "block": {"displayName": block}, "lisSlideId": lines[0]}
        with _complete(record) as aside:
            aside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    if not (folder / f"{slide_id}.label.jpg").exists():
        make_label(folder / f"{slide_id}.label.jpg", lines=lines)


@contextmanager
def _complete(path: Path) -> Iterator[Path]:
    """Yield a temporary path, and rename it to `path` afterwards; after an error nothing is left.

    `slidehook.private` does the same, but the simulator imports only the records of DPAT's interface. libvips needs a
    path, not an open file.
    """
    # The process id keeps two processes that fill one folder from writing to the same file.
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Create the sample slides in FOLDER; existing files stay unchanged."""
    click.echo(str(sample_folder(folder)))


if __name__ == "__main__":
    main()
