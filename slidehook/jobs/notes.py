"""Messages to whoever works on a job: a fresher token, the wish to stop.

Each is a new name in one listed folder: on a share another host's listing shows that at once, while new content
under an old name may never be seen.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from slidehook.jobs.durable import remove, rename, sync_dir, write_new


class NoteKind(StrEnum):
    """What a note is about."""

    TOKEN = "token"  # noqa: S105 - the kind's name
    CANCEL = "cancel"


class Notes:
    """The notes of one queue directory: `<job>.<ns>.<kind>`."""

    def __init__(self, root: str, tmp: str) -> None:
        self._root = root
        self._tmp = tmp

    def post(self, job_id: str, kind: NoteKind, now_ns: int, content: bytes = b"") -> None:
        """Leave a note, durably."""
        name = f"{job_id}.{now_ns:016x}.{kind}"
        write_new(f"{self._tmp}/{name}", content)
        rename(f"{self._tmp}/{name}", f"{self._root}/{name}")
        sync_dir(self._root)

    def of(self, job_id: str, kind: NoteKind | None = None) -> list[str]:
        """List the names of a job's notes, of one kind or of all, oldest first."""
        ending = f".{kind}" if kind else ""
        return sorted(each for each in os.listdir(self._root) if each.startswith(job_id) and each.endswith(ending))

    def newest_token(self, job_id: str) -> str | None:
        """Read the token that came last; None when none came."""
        for name in reversed(self.of(job_id, NoteKind.TOKEN)):
            return Path(f"{self._root}/{name}").read_text(encoding="utf-8")
        return None

    def drop(self, job_id: str) -> None:
        """Remove a job's notes."""
        for name in self.of(job_id):
            remove(f"{self._root}/{name}")

    def sweep(self, live: frozenset[str], before_ns: int) -> Iterator[str]:
        """Remove the notes, older than `before_ns`, of jobs that are not in `live`; gives their names."""
        for name in sorted(os.listdir(self._root)):
            job_id, _, rest = name.partition(".")
            if job_id not in live and rest.partition(".")[0] < f"{before_ns:016x}" and remove(f"{self._root}/{name}"):
                yield name
