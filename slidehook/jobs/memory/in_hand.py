"""A job of a queue in memory while one process has it."""

from __future__ import annotations

from pydantic import JsonValue

from slidehook.errors import ClaimLost
from slidehook.jobs.job import Noted
from slidehook.jobs.memory.state import Entry, MemoryState


class InHand:
    """A job that is held or worked on by one process."""

    def __init__(self, queue: MemoryState, entry: Entry, hand: object) -> None:
        self._queue = queue
        self._entry = entry
        self._hand = hand

    def _own(self) -> Entry:
        if self._entry.hand is not self._hand:
            job_id, attempt = self._entry.job.id, self._entry.attempt
            raise ClaimLost(f"job {job_id} is no longer this process's own (attempt {attempt})")
        return self._entry

    def note(self, noted: dict[str, JsonValue]) -> None:
        """Store what a later attempt must find again; raises ClaimLost."""
        with self._queue.changed:
            entry, at = self._own(), self._queue.clock() / 1e9
            entry.events.append(Noted(at=at, attempt=entry.attempt, noted=noted))
