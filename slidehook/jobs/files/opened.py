"""A queue directory that one process has opened."""

from __future__ import annotations

from pathlib import Path

from slidehook.errors import QueueError
from slidehook.jobs.contract import Role
from slidehook.jobs.files.admin import FileQueueAdmin
from slidehook.jobs.files.claimers import LivenessMonitor
from slidehook.jobs.files.probe import check_locks, check_puttable, check_writable
from slidehook.jobs.files.queue import FileQueue
from slidehook.jobs.files.source import FileSource


class OpenFileQueue:
    """See `slidehook.jobs.contract.Queue`."""

    def __init__(self, root: Path, role: Role) -> None:
        if role == "admin" and not root.is_dir():
            raise QueueError(f"there is no queue at {root}; set SLIDEHOOK_QUEUE_DIR")
        self._root = root
        self._role = role
        self._queue = FileQueue(root, role)
        self._sources: list[FileSource] = []

    @property
    def name(self) -> str:
        """The directory."""
        return str(self._root)

    @property
    def claimer_id(self) -> str:
        """This process's name in the queue."""
        return self._queue.claimer.id

    def check(self) -> None:
        """Raise QueueUnusable where the directory can't be written; for a worker, LocksDontWork without locks."""
        check_writable(self._root)
        if self._role == "work":
            check_locks(self._root)

    def check_puttable(self) -> None:
        """Raise QueueError, with a sentence, unless a job can be put just now."""
        check_puttable(self._root)

    def sink(self) -> FileQueue:
        """Return the webserver's side."""
        return self._queue

    def source(self, *, max_attempts: int, apps: frozenset[str] | None = None) -> FileSource:
        """Return the worker's side."""
        source = FileSource(self._queue, max_attempts=max_attempts, apps=apps)
        self._sources.append(source)
        return source

    def admin(self) -> FileQueueAdmin:
        """Return the operator's side."""
        return FileQueueAdmin(self._queue)

    def liveness(self) -> LivenessMonitor:
        """Return a new monitor of the other processes."""
        return LivenessMonitor(self._root)

    def close(self) -> None:
        """Leave the queue."""
        for source in self._sources:
            source.close()
        self._queue.close()
