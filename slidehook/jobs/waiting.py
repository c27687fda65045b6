"""The waiting jobs on disk, in order: priority, then age.

`waiting/<priority>/<bucket>/<job>`: a bucket is a folder of about `BUCKET_SIZE` jobs, named by the age that its
jobs start from, so that neither a put nor a claim ever lists more than one bucket, however many jobs wait.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

from slidehook.jobs.durable import make_dir, sync_dir
from slidehook.jobs.job import JobState
from slidehook.jobs.names import JobName

BUCKET_SIZE = 256
"""How many jobs a bucket takes before a new one is begun."""
SETTLED_NS = 50_000_000
"""A listing is trusted while its folder's time stands still, and was older than this when listed: a file
system's clock ticks in steps, so a second change in the same step would not show."""


class _Listing:
    """One folder's sorted names, read again when the folder has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: list[str] = []
        self._mtime_ns: int | None = None

    def names(self) -> list[str]:
        """Give the sorted names; none where there is no such folder."""
        try:
            mtime_ns = os.stat(self.path).st_mtime_ns  # noqa: PTH116 - on the path of every claim
            if mtime_ns != self._mtime_ns:
                listed_ns = time.time_ns()
                self._names = sorted(os.listdir(self.path))  # noqa: PTH208 - a third of iterdir's time
                self._mtime_ns = mtime_ns if listed_ns - mtime_ns > SETTLED_NS else None
        except FileNotFoundError:
            self._names, self._mtime_ns = [], None
        return self._names


class WaitingRoom:
    """The folder `waiting` as one process sees it. Not safe for use by several threads at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._priorities = _Listing(root)
        self._levels: dict[str, _Listing] = {}
        self._bucket = _Bucket(root)

    def enter(self, source: Path, name: JobName) -> Path:
        """Rename `source` to its place in the order, durably; raises FileNotFoundError when it is gone."""
        level = self.root / str(name.priority)
        make_dir(level)
        while True:
            bucket = level / _bucket_for(level, name)
            make_dir(bucket)
            target = bucket / str(name)
            try:
                source.rename(target)
            except FileNotFoundError:
                # Either the source is gone, or a claimer removed the bucket as empty a moment ago.
                if source.name not in os.listdir(source.parent):  # noqa: PTH208
                    raise
                continue
            sync_dir(bucket)
            return target

    def first(self) -> Iterator[tuple[Path, JobName]]:
        """Give the waiting jobs in order, from what is on disk now.

        The caller takes one by renaming it away, then calls `took`; a name that another took before stays out.
        """
        for priority in self._priorities.names():
            if priority not in self._levels:
                self._levels[priority] = _Listing(self.root / priority)
            buckets = self._levels[priority].names()
            for bucket in buckets:
                path = self.root / priority / bucket
                yield from self._jobs(path)
                if bucket != buckets[-1]:  # the newest stays for the next put
                    _remove_if_empty(path)

    def _jobs(self, path: Path) -> Iterator[tuple[Path, JobName]]:
        if self._bucket.path != path:
            self._bucket = _Bucket(path)
        for text in self._bucket.remaining():
            if (name := JobName.parse(JobState.WAITING, text)) is not None:
                yield path / text, name

    def took(self) -> None:
        """Tell that the job given last was taken, so that this change alone makes nobody list anew."""
        self._bucket.took()

    def find(self, job: JobName) -> Path | None:
        """Find where a waiting job lies; its id says which buckets to look into."""
        level = self.root / str(job.priority)
        age = job.job_id.partition("-")[0]
        with contextlib.suppress(FileNotFoundError):
            older = [each for each in sorted(os.listdir(level)) if each <= age]  # noqa: PTH208
            for bucket in reversed(older):
                for text in os.listdir(level / bucket):  # noqa: PTH208
                    if text.startswith(job.job_id):
                        return level / bucket / text
        return None

    def walk(self) -> Iterator[Path]:
        """Give every file that waits, in order, also those that are not ours."""
        for priority in sorted(self.root.iterdir()):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                for bucket in sorted(priority.iterdir()):
                    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                        yield from (bucket / text for text in sorted(os.listdir(bucket)))  # noqa: PTH208


class _Bucket:
    """One bucket's jobs that this process has not tried yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: list[str] = []
        self._mtime_ns: int | None = None

    def remaining(self) -> Iterator[str]:
        """Give the names in order; lists anew when anybody else has changed the folder."""
        try:
            mtime_ns = os.stat(self.path).st_mtime_ns  # noqa: PTH116
            if mtime_ns != self._mtime_ns or not self._names:
                self._names = sorted(os.listdir(self.path), reverse=True)  # noqa: PTH208
                self._mtime_ns = mtime_ns
        except FileNotFoundError:
            self._names = []
        while self._names:
            yield self._names.pop()

    def took(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._mtime_ns = os.stat(self.path).st_mtime_ns  # noqa: PTH116


def _bucket_for(level: Path, name: JobName) -> str:
    """Choose the bucket that a job belongs to by its age, or name a new one."""
    age = name.job_id.partition("-")[0]
    older = [each for each in sorted(os.listdir(level)) if each <= age]  # noqa: PTH208
    if not older:
        return age
    with contextlib.suppress(FileNotFoundError):
        names = os.listdir(level / older[-1])  # noqa: PTH208
        if len(names) >= BUCKET_SIZE and max(names) < name.job_id:
            return age
    return older[-1]


def _remove_if_empty(path: Path) -> None:
    try:
        path.rmdir()
    except OSError as error:
        # Not empty: a job came a moment ago, or a foreign file lies there. Gone: another claimer was faster.
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR}:
            raise
