"""What is kept from apps: the site's secrets, in their settings and in the environment of their processes.

This is no wall: an app runs as slidehook's own user and can read what that user can. It keeps secrets out of what an
app, or a library in it, may print, send with a crash report, or hand on to what it starts.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_PREFIX = "SLIDEHOOK_"
_changing = threading.Lock()


def take_from_environment() -> dict[str, str]:
    """Remove all of slidehook's settings from the environment of this process, and give them."""
    names = [name for name in os.environ if name.upper().startswith(_PREFIX)]
    return {name: os.environ.pop(name) for name in names}


@contextmanager
def environment_for_apps() -> Iterator[None]:
    """Start processes for apps in this block: slidehook's settings are not in their environment."""
    with _changing:
        taken = take_from_environment()
        try:
            yield
        finally:
            os.environ.update(taken)


def begin_apps_process() -> None:
    """Close, in a new process for apps, the input that it has from the process which started it."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
