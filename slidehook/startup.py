"""How a program that can't start exits: one line for each fault, and a status that says whether to try again."""

from __future__ import annotations

import sys
from typing import NoReturn

from slidehook.errors import SlidehookError
from slidehook.terminal import plain

CANT_START = 78
"""The exit status of a program that can't start: starting it again would not help (EX_CONFIG)."""
START_LATER = 75
"""The exit status if the cause may pass, such as a full disk or an unreachable share (EX_TEMPFAIL)."""


def cant_start(error: SlidehookError) -> NoReturn:
    """Print why this program can't start, one line for each fault, and exit."""
    for line in str(error).splitlines():
        print(f"slidehook: {plain(line)}", file=sys.stderr, flush=True)  # noqa: T201 - there is no log yet
    sys.exit(START_LATER if error.retryable else CANT_START)
