"""The folders of a queue directory, and the making of a new one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from slidehook.disk import is_lasting, reason_of
from slidehook.errors import QueueError, QueueUnusable
from slidehook.jobs.files.durable import make_dir, sync_dir, write_new
from slidehook.jobs.files.names import JobName
from slidehook.jobs.job import JobState
from slidehook.private import private_folder

VERSION = b"slidehook queue 1\n"
"""What the file `FORMAT` says: another layout gets another number."""
FOLDERS = (
    "tmp",  # notes being written
    "waiting",  # <priority>/<bucket>/<job>
    "parked",  # jobs that sleep, by the time to wake
    "active",  # claimed jobs
    "ending",  # claimed jobs whose outcome is decided
    "done",  # <day>/<job>, likewise the next two
    "failed",
    "cancelled",
    "damaged",  # files that can't be read as jobs, set aside
    "aliases",  # hard links to jobs that have not ended, by what they are asked for with
    "notes",  # messages to whoever works on a job, each a new name
    "claimers",  # lock files, empty
    "beats",  # heartbeats
)


class Layout:
    """Where things lie in a queue directory; makes it where it is missing. Raises QueueError if it can't be used.

    Paths are strings: a claim builds a dozen, and pathlib would be a third of its time.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        base = str(root)
        self.tmp = f"{base}/tmp"  # noqa: S108 - the queue's own
        self.waiting = f"{base}/waiting"
        self.parked = f"{base}/parked"
        self.active = f"{base}/active"
        self.damaged = f"{base}/damaged"
        self.aliases = f"{base}/aliases"
        self.notes = f"{base}/notes"
        self.claimers = f"{base}/claimers"
        self.beats = f"{base}/beats"
        self._folders = {state: f"{base}/{state.value}" for state in JobState}
        try:
            self._make()
        except OSError as error:
            kind = QueueUnusable if is_lasting(error) else QueueError
            raise kind(
                f"SLIDEHOOK_QUEUE_DIR: the queue directory {root} can't be used: {reason_of(error)}"
            ) from error

    def _make(self) -> None:
        private_folder(self.root)
        mark = f"{self.root}/FORMAT"
        if not os.path.exists(mark):
            with contextlib.suppress(FileExistsError):
                write_new(mark, VERSION)
        found = Path(mark).read_bytes()
        if found not in {VERSION, b""}:  # empty: another process is writing it this moment
            version = found[:40].decode(errors="replace").strip()
            raise QueueUnusable(f"SLIDEHOOK_QUEUE_DIR: {self.root} holds a queue of another version: {version!r}")
        for name in FOLDERS:
            make_dir(f"{self.root}/{name}")
            os.listdir(f"{self.root}/{name}")  # or it is something else that can't be used
        sync_dir(str(self.root))

    def folder(self, state: JobState) -> str:
        """Return the folder of a state."""
        return self._folders[state]

    def path(self, name: JobName) -> str:
        """Return the place of a job in a flat state: parked, active or ending."""
        return f"{self._folders[name.state]}/{name}"

    def names(self, state: JobState) -> Iterator[JobName]:
        """List the jobs in a flat state, sorted; foreign files are passed over."""
        for text in sorted(os.listdir(self._folders[state])):
            if (name := JobName.parse(state, text)) is not None:
                yield name

    def ended(self, state: JobState) -> Iterator[tuple[str, JobName]]:
        """List the jobs that ended as `state`, the newest day first: path and name."""
        folder = self._folders[state]
        for day in sorted(os.listdir(folder), reverse=True):
            with contextlib.suppress(NotADirectoryError, FileNotFoundError):
                for text in sorted(os.listdir(f"{folder}/{day}"), reverse=True):
                    if (name := JobName.parse(state, text)) is not None:
                        yield f"{folder}/{day}/{text}", name
