"""Draws a result on its slide in a separate process: if that process dies, only the picture is lost."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType

from PIL import Image

from slidehook.errors import SlidehookError, SlideUnreadable
from slidehook.geometry import Frame, PixelPoint
from slidehook.pixels.overview import picture_of
from slidehook.result import Result
from slidehook.results.picture import draw_result
from slidehook.slide import open_slide

OVERVIEW_PX = 2048
"""The longer side of the picture that the result is drawn on."""


class NoPicture(SlidehookError):
    """The result could not be drawn."""


def overlay_png(file: Path, result: Result, frame: Frame, drawn: Sequence[Sequence[PixelPoint]]) -> tuple[bytes, str]:
    """Draw a result, and the regions `drawn` by the user, over the slide in `file`.

    Returns a PNG, and a sentence on anything that is wrong with it, otherwise "". Raises NoPicture with the
    reason in one sentence.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_draw, args=(theirs, file, result, frame, drawn), name="overlay")
    with _without_main():
        process.start()
    theirs.close()
    try:
        found: tuple[bytes, str] | str = ours.recv()
    except (EOFError, OSError):
        process.join()
        raise NoPicture(f"the process that draws it died ({_ending(process.exitcode)})") from None
    except KeyboardInterrupt:
        raise NoPicture("it was interrupted") from None
    finally:
        process.kill()
        process.join()
        ours.close()
    if isinstance(found, str):
        raise NoPicture(found)
    return found


@contextmanager
def _without_main() -> Iterator[None]:
    """Keep a process that is started in this block from importing this process's main script.

    A script that calls `slidehook.cli.main.main` without a check of `__name__` would run the app again.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _ending(code: int | None) -> str:
    return signal.Signals(-code).name if code is not None and code < 0 else f"exit status {code}"


# --- in the child


def _draw(pipe: Connection, file: Path, result: Result, frame: Frame, drawn: Sequence[Sequence[PixelPoint]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program that waits for the picture reports Ctrl-C
    try:
        pipe.send(_overlay(file, result, frame, drawn))
    except MemoryError:
        pipe.send("there is not enough memory")
    except (SlidehookError, OSError, ValueError) as error:
        # Pillow raises these if it can't draw or write.
        pipe.send(str(error))


def _overlay(file: Path, result: Result, frame: Frame, drawn: Sequence[Sequence[PixelPoint]]) -> tuple[bytes, str]:
    """Draw the result; on white if the file is damaged in a part that the app did not need."""
    amiss = ""
    with open_slide(file) as opened:
        size = opened.dimensions  # read first: OpenSlide returns no size after an error
        try:
            overview = picture_of(opened, file, OVERVIEW_PX)
        except SlideUnreadable as error:
            amiss = f"The slide's overview can't be read, so the overlay shows none: {error}"
            shrink = max(1.0, max(size) / OVERVIEW_PX)
            width, height = (max(1, round(each / shrink)) for each in size)
            overview = Image.new("RGB", (width, height), "white")
    content = BytesIO()
    draw_result(overview, result, frame, drawn).save(content, "PNG")
    return content.getvalue(), amiss
