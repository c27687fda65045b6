"""A queue in memory, opened."""

from __future__ import annotations

import time
from collections.abc import Callable

from slidehook.jobs.memory.admin import MemoryQueueAdmin
from slidehook.jobs.memory.sink import MemorySink
from slidehook.jobs.memory.source import MemorySource
from slidehook.jobs.memory.state import MemoryState

MAX_ATTEMPTS = 3


class MemoryQueue:
    """A queue of one process, safe for several threads. See `slidehook.jobs.contract.Queue`.

    `clock` returns ns since 1970. Each sink and each source acts as a separate process.
    """

    name = "memory"

    def __init__(self, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._state = MemoryState(clock)
        self._parties = 0
        self.claimer_id = self._party("memory")
        """This object's name in the queue."""

    def check(self) -> None:
        """Do nothing: memory can always be used."""

    def check_puttable(self) -> None:
        """Do nothing: memory can always be used."""

    def sink(self, role: str = "web") -> MemorySink:
        """Return the queue as one more webserver sees it."""
        return MemorySink(self._state, self._party(role))

    def source(self, *, max_attempts: int = MAX_ATTEMPTS, apps: frozenset[str] | None = None) -> MemorySource:
        """Return the queue as one more worker sees it, which runs `apps` only (None: all)."""
        party = self._party("work")
        self._state.workers.add(party)
        return MemorySource(self._state, party, max_attempts, apps)

    def admin(self) -> MemoryQueueAdmin:
        """Return the queue as an operator sees it."""
        return MemoryQueueAdmin(self._state, self._party("admin"))

    def liveness(self) -> MemoryQueue:
        """Return this queue: it records which of its parties are dead."""
        return self

    def dead(self, claimers: set[str]) -> set[str]:
        """Return those of `claimers` that `crash` has ended."""
        with self._state.changed:
            return claimers & self._state.dead

    def crash(self, party: MemorySink | MemorySource) -> None:
        """End the process of `party`, as a test does: what it holds or works on goes to others."""
        with self._state.changed:
            self._state.dead.add(party.id)
            self._state.woken()

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def _party(self, role: str) -> str:
        with self._state.changed:
            self._parties += 1
            return f"{role}-{self._parties}"
