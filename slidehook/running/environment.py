"""Keeps the site's secrets out of the environment of processes for apps.

This is not a security boundary: an app runs as slidehook's own user, and can read that user's files. It keeps secrets
out of output, crash reports and child processes of an app or of its libraries.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_PREFIX = "SLIDEHOOK_"
_changing = threading.Lock()


def take_from_environment() -> dict[str, str]:
    """Remove all of slidehook's settings from the environment of this process, and return them."""
    names = [name for name in os.environ if name.upper().startswith(_PREFIX)]
    return {name: os.environ.pop(name) for name in names}


@contextmanager
def environment_for_apps() -> Iterator[None]:
    """Keep slidehook's settings out of the environment of processes that are started in this block."""
    with _changing:
        taken = take_from_environment()
        try:
            yield
        finally:
            os.environ.update(taken)


def begin_apps_process() -> None:
    """Replace the inherited standard input of a new process for apps by an empty one."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
