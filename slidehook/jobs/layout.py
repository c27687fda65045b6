"""The folders of a queue directory, and the making of a new one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from slidehook.errors import QueueError
from slidehook.jobs.durable import make_dir, sync_dir, write_new
from slidehook.jobs.job import JobState

VERSION = b"slidehook queue 1\n"
"""What the file `FORMAT` says: another layout gets another number."""


class Layout:
    """Where things lie in a queue directory. Raises QueueError when it can't be used."""

    FOLDERS = (
        "tmp",  # files being written
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

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            self._make()
        except OSError as error:
            raise QueueError(f"the queue directory {root} can't be used: {error.strerror}") from error
        for name in self.FOLDERS:
            setattr(self, name, root / name)

    tmp: Path
    waiting: Path
    parked: Path
    active: Path
    ending: Path
    done: Path
    failed: Path
    cancelled: Path
    damaged: Path
    aliases: Path
    notes: Path
    claimers: Path
    beats: Path

    def _make(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        mark = self.root / "FORMAT"
        with contextlib.suppress(FileExistsError):
            write_new(mark, VERSION)
        found = mark.read_bytes()
        if found not in {VERSION, b""}:  # empty: another process is writing it this moment
            raise QueueError(f"{self.root} holds another version's queue: {found[:40].decode(errors='replace')!r}")
        for name in self.FOLDERS:
            make_dir(self.root / name)
        sync_dir(self.root)

    def folder(self, state: JobState) -> Path:
        """Give the folder of a state."""
        return self.root / state.value

    def alias(self, key: str) -> Path:
        """Give the place of an alias: spread over 256 folders, so that none grows large."""
        return self.aliases / key[:2] / key

    def names(self, state: JobState) -> list[str]:
        """List a state's folder: a listing is fresh on a share, other ways to look are not."""
        return sorted(os.listdir(self.folder(state)))  # noqa: PTH208
