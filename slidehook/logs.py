"""Logging: one readable line for each step, with the job's id, on standard error."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from io import StringIO
from typing import Any, TextIO

import structlog

from slidehook.terminal import plain, plain_lines


class _Lines:
    """Writes each line in one piece.

    structlog's own loggers hold a lock while writing, on which a logging signal handler would block for ever.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def msg(self, message: str) -> None:
        self._file.write(f"{message}\n")
        self._file.flush()

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


INDENT = "    "
"""The prefix of each line of a traceback."""


def _make_plain(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Clean every value of a line, so that none breaks the line or controls a terminal."""
    for name, value in event.items():
        if name == "exception":
            event[name] = plain_lines(str(value), INDENT)
        elif name == "event":
            event[name] = plain(str(value), keep="\t")
        elif name != "exc_info" and not isinstance(value, int | float | None):
            event[name] = plain(value if isinstance(value, str) else repr(value))
    return event


def _write_traceback(out: TextIO, error: Any) -> None:
    written = StringIO()
    # structlog's default shows local variables, which include tokens.
    structlog.dev.plain_traceback(written, error)
    out.write(plain_lines(written.getvalue(), INDENT))


def set_up_logging(*, timed: bool = True, least: int = logging.INFO) -> None:
    """Configure structlog to write time, level, event and values; in colour on a terminal only.

    `timed=False` omits the time, for a process whose lines another one logs. `least`: the lowest level written.
    """
    file = sys.stderr
    time = [structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False)] if timed else []
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _make_plain,
            *time,
            structlog.dev.ConsoleRenderer(
                colors=file.isatty(),
                pad_event_to=34,
                pad_level=True,
                exception_formatter=_write_traceback,
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: _Lines(file),
    )
