"""Formats tracebacks for authors, starting at their own code."""

from __future__ import annotations

import traceback
from pathlib import Path

import slidehook

_PACKAGE = Path(slidehook.__file__).parent


def author_trace(error: BaseException) -> str:
    """Format a traceback without the calls before the author's code; without any calls if none is in that code."""
    trace = error.__traceback__
    while trace is not None and is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return "".join(traceback.format_exception(error.with_traceback(trace)))


def is_ours(file: str) -> bool:
    """Whether a line of a traceback belongs to slidehook or to Python's import."""
    path = Path(file)
    return file.startswith("<frozen") or (
        path.is_relative_to(_PACKAGE) and not path.is_relative_to(_PACKAGE / "apps")
    )
