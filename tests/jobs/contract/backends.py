"""The queues that the contract is tried on. A new backend is added here and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from slidehook.jobs.contract import JobSink, JobSource, QueueAdmin
from slidehook.jobs.files.admin import FileQueueAdmin
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import FileSource
from slidehook.jobs.memory import MemoryQueue, MemorySink, MemorySource
from tests.jobs.making import Clock

MAX_ATTEMPTS = 3


class Backend(Protocol):
    """A queue as several processes see it: each sink and each source is a process of its own."""

    clock: Clock

    def sink(self, role: str = "web") -> JobSink:
        """Start a process that puts jobs."""

    def source(self, *, max_attempts: int = MAX_ATTEMPTS, apps: frozenset[str] | None = None) -> JobSource:
        """Start a process that claims jobs; it looks for the dead whenever it claims."""

    def admin(self) -> QueueAdmin:
        """Return the operator's side."""

    def crash(self, party: JobSink | JobSource) -> None:
        """Let the process behind a sink or a source be gone; its objects go on to be called, as if woken late."""

    def close(self) -> None:
        """Give back whatever is left open."""


class FileBackend:
    """The queue on disk: each party has a FileQueue of its own over one directory."""

    def __init__(self, root: Path) -> None:
        self.clock = Clock()
        self._root = root
        self._queues: dict[int, FileQueue] = {}
        self._sources: list[FileSource] = []

    def sink(self, role: str = "web") -> FileQueue:
        queue = FileQueue(self._root, role, clock=self.clock)
        self._queues[id(queue)] = queue
        return queue

    def source(self, *, max_attempts: int = MAX_ATTEMPTS, apps: frozenset[str] | None = None) -> FileSource:
        queue = self.sink("work")
        source = FileSource(queue, max_attempts=max_attempts, apps=apps, take_over_every_s=0)
        self._queues[id(source)] = queue
        self._sources.append(source)
        return source

    def admin(self) -> FileQueueAdmin:
        return FileQueueAdmin(self.sink("cli"))

    def crash(self, party: JobSink | JobSource) -> None:
        self._queues[id(party)].close()  # all that others see of a death: the lock is free, the beat is gone

    def close(self) -> None:
        for source in self._sources:
            source.close()
        for queue in self._queues.values():
            queue.close()


class MemoryBackend:
    """The queue in memory."""

    def __init__(self) -> None:
        self.clock = Clock()
        self._queue = MemoryQueue(clock=self.clock)

    def sink(self, role: str = "web") -> JobSink:
        return self._queue.sink(role)

    def source(self, *, max_attempts: int = MAX_ATTEMPTS, apps: frozenset[str] | None = None) -> JobSource:
        return self._queue.source(max_attempts=max_attempts, apps=apps)

    def admin(self) -> QueueAdmin:
        return self._queue.admin()

    def crash(self, party: JobSink | JobSource) -> None:
        if not isinstance(party, MemorySink | MemorySource):
            raise TypeError(type(party))
        self._queue.crash(party)

    def close(self) -> None:
        """Nothing is left open."""
