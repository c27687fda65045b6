"""Second names of live jobs: one by their work, one by each cancellation token's digest.

An alias is a hard link to the job's file, made exclusively: of several processes that put the same work at once,
one wins. It shows what has happened to the job wherever the job's file has been renamed to.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Callable, Iterator

from slidehook.errors import JobDamaged
from slidehook.jobs.files.durable import link, make_dir, read_whole, remove, rename
from slidehook.jobs.job import Job, JobRecord, parse_record
from slidehook.jobs.rules import MAX_ALIASES

_KEY = re.compile(r"[0-9a-f]{40}")


class Aliases:
    """The aliases of one queue directory, spread over 256 folders so that none grows large."""

    def __init__(self, root: str) -> None:
        self._root = root

    def _path(self, key: str) -> str:
        return f"{self._root}/{key[:2]}/{key}"

    def live(self, key: str) -> JobRecord | None:
        """Read the live job with the alias `key`; None if there is none."""
        path = self._path(key)
        try:
            record = parse_record(read_whole(path))
        except FileNotFoundError:
            return None
        except JobDamaged:
            record = None
        if record is None or record.ended:
            # Left behind by a crash between a job's outcome and its last rename.
            if not remove(path):
                with contextlib.suppress(FileNotFoundError):  # a folder has that name
                    rename(path, f"{path}.{secrets.token_hex(4)}")
            return None
        return record

    def make(self, source: str, key: str) -> bool:
        """Give the job at `source` the alias `key`; False if another live job has it.

        Raises FileNotFoundError when there is no job at `source`.
        """
        try:
            link(source, self._path(key))
        except FileExistsError:
            return self.live(key) is None and self._again(source, key)
        except FileNotFoundError:
            make_dir(f"{self._root}/{key[:2]}")
            return self._again(source, key)
        return True

    def _again(self, source: str, key: str) -> bool:
        try:
            link(source, self._path(key))
        except FileExistsError:
            return False
        return True

    def add(self, known: str, key: str) -> bool:
        """Give the job with one alias another one too; False if that is not possible."""
        with contextlib.suppress(FileNotFoundError):
            path = self._path(known)
            return os.stat(path).st_nlink < MAX_ALIASES and self.make(path, key)
        return False

    def restore(self, source: str, job: Job) -> None:
        """Give the job at `source` its own aliases again, except those that another live job has."""
        for key in (job.key, job.cancellation_key):
            if key is not None:
                self.make(source, key)

    def drop(self, job: Job) -> None:
        """Remove a job's own aliases. Those added by later requests lead to its outcome until `sweep`."""
        for key in (job.key, job.cancellation_key):
            if key is not None:
                self.free(key, job)

    def free(self, key: str, job: Job) -> None:
        """Remove the alias `key` if it belongs to this job."""
        with contextlib.suppress(FileNotFoundError, JobDamaged):
            if job.owns(read_whole(self._path(key))):
                remove(self._path(key))

    def sweep(self, before_s: float, is_gone: Callable[[str], bool]) -> Iterator[str]:
        """Remove the aliases of ended jobs, and of jobs whose file was removed; returns the keys.

        `is_gone` is asked for the ids of jobs to which nothing has happened since `before_s` (s since 1970).
        """
        for folder in sorted(os.listdir(self._root)):
            with contextlib.suppress(NotADirectoryError):
                for key in sorted(os.listdir(f"{self._root}/{folder}")):
                    if _KEY.fullmatch(key) and self._leads_nowhere(key, before_s, is_gone):
                        yield key

    def _leads_nowhere(self, key: str, before_s: float, is_gone: Callable[[str], bool]) -> bool:
        record = self.live(key)
        if record is None:
            return True
        with contextlib.suppress(FileNotFoundError):
            if os.stat(self._path(key)).st_mtime < before_s and is_gone(record.job.id):
                return remove(self._path(key))
        return False
