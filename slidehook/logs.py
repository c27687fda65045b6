"""How the programs log: one readable line for each step, with the job's id, to standard error."""

from __future__ import annotations

import logging
import sys

import structlog


def set_up_logging() -> None:
    """Make structlog write time, level, event and values; in colour on a terminal only."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                pad_event_to=34,
                pad_level=True,
                # The usual one shows the local variables, and among them tokens.
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
