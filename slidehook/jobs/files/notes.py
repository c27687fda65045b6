"""Messages to a job's worker: a newer secret, a cancellation, or the deletion of its result.

Each is a new name in one listed folder: on a share another host's listing shows that at once, while new content
under an old name may never be seen.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from enum import StrEnum

from slidehook.errors import JobDamaged
from slidehook.jobs.files.durable import read_whole, remove, rename, sync_dir, write_new


class NoteKind(StrEnum):
    """What a note is about."""

    SECRET = "token"  # noqa: S105 - as format 1 has it on disk
    CANCEL = "cancel"
    UNWANTED = "deleted"


KEPT = 8
"""How many notes of one kind a job keeps, the newest; more than one, so that a listed note can still be read."""
_NAME = re.compile(rf"[0-9a-f]{{16}}-[0-9a-f]{{8}}\.[0-9a-f]{{16}}\.({'|'.join(NoteKind)})")


class Notes:
    """The notes of one queue directory: `<job>.<ns>.<kind>`."""

    def __init__(self, root: str, tmp: str) -> None:
        self._root = root
        self._tmp = tmp

    def post(self, job_id: str, kind: NoteKind, now_ns: int, content: bytes = b"") -> str:
        """Leave a note, durably, and give its name; it is newer than all that are there, whatever the clock says.

        Of each kind only the newest stay, however many are posted.
        """
        there = self.of(job_id)
        if last := max(there, default=""):
            now_ns = max(now_ns, int(last.split(".")[1], 16) + 1)
        name = f"{job_id}.{now_ns:016x}.{kind}"
        aside = f"{self._tmp}/{name}.{secrets.token_hex(4)}"
        write_new(aside, content)
        rename(aside, f"{self._root}/{name}")
        sync_dir(self._root)
        self.take_back([each for each in there if each.endswith(f".{kind}")][: -(KEPT - 1)])
        return name

    def of(self, job_id: str, kind: NoteKind | None = None) -> list[str]:
        """List the names of a job's notes, of one kind or of all, oldest first."""
        names = [each for each in os.listdir(self._root) if each.startswith(job_id) and _NAME.fullmatch(each)]
        return sorted(each for each in names if kind is None or each.endswith(f".{kind}"))

    def newest(self, job_id: str, kind: NoteKind) -> str:
        """Return the name of the note that came last; empty when none came."""
        return max(self.of(job_id, kind), default="")

    def newest_content(self, job_id: str, kind: NoteKind) -> tuple[str, str | None]:
        """Return the name and the content of the note that came last; an empty name and None when none came."""
        while name := self.newest(job_id, kind):
            with contextlib.suppress(FileNotFoundError):  # so many have come since that it was one too many
                return name, self.read(name)
        return "", None

    def read(self, name: str) -> str:
        """Read a note; one that can't be read as text says nothing."""
        try:
            return read_whole(f"{self._root}/{name}").decode()
        except (JobDamaged, PermissionError, UnicodeDecodeError):
            return ""

    def drop(self, job_id: str) -> None:
        """Remove a job's notes."""
        self.take_back(self.of(job_id))

    def take_back(self, names: Iterable[str]) -> None:
        """Remove notes by their names."""
        for name in names:
            remove(f"{self._root}/{name}")

    def sweep(self, live: frozenset[str], before_ns: int) -> Iterator[str]:
        """Remove the notes, older than `before_ns`, of jobs that are not in `live`; returns their names."""
        for name in sorted(os.listdir(self._root)):
            job_id, _, rest = name.partition(".")
            old = _NAME.fullmatch(name) and rest.partition(".")[0] < f"{before_ns:016x}"
            if old and job_id not in live and remove(f"{self._root}/{name}"):
                yield name
