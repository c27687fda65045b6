"""How the programs log: one readable line for each step, with the job's id, to standard error."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog


class _Lines:
    """Writes each line in one piece.

    structlog's own loggers hold a lock meanwhile, for which a signal handler that logs would wait for ever.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def msg(self, message: str) -> None:
        self._file.write(f"{message}\n")
        self._file.flush()

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def set_up_logging() -> None:
    """Make structlog write time, level, event and values; in colour on a terminal only."""
    file = sys.stderr
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(
                colors=file.isatty(),
                pad_event_to=34,
                pad_level=True,
                # The usual one shows the local variables, and among them tokens.
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _Lines(file),
        cache_logger_on_first_use=True,
    )
