"""Kills an app that takes too much memory, with all processes that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Collection

import structlog

from slidehook.running.process_tree import CHECK_EVERY_S, end, members, take_more

log = structlog.get_logger()


def end_group(group: int, others: Callable[[], Collection[int]] = tuple) -> None:
    """Kill all processes of a group, their descendants in other groups, and `others`."""
    try:
        end(lambda: [*members(group), *others()])
    except (OSError, ValueError) as error:
        log.warning("what an app has started can't be looked for", reason=str(error))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


class MemoryGuard:
    """Kills a process group and its descendants once they exceed a memory limit: use it in `with`.

    It has a thread of its own, because the main thread may wait for DPAT while the app fills the memory.
    """

    def __init__(self, group: int, limit_bytes: float) -> None:
        self._group = group
        self._limit_bytes = limit_bytes
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)
        self.exceeded = False
        """Whether the group exceeded its limit and was killed."""
        self._blind = False

    def __enter__(self) -> MemoryGuard:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            while not self._over.wait(CHECK_EVERY_S):
                try:
                    self.exceeded = take_more(members(self._group), self._limit_bytes)
                except (OSError, ValueError, IndexError) as error:
                    # For example, if this process has too many files open: the next check may succeed.
                    if not self._blind:
                        log.warning("an app's memory can't be looked at", reason=str(error))
                    self._blind = True
                    continue
                if self.exceeded:
                    return
        finally:
            # If the guard ends before the analysis does, the analysis ends, too: nothing runs unguarded.
            if not self._over.is_set():
                end_group(self._group)
