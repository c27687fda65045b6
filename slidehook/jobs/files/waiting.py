"""The waiting jobs on disk, in order: priority, then age.

`waiting/<priority>/<bucket>/<job>`: a bucket is a folder of about `BUCKET_SIZE` jobs, named by the age that its
jobs start from, so that neither a put nor a claim ever lists more than one bucket, however many jobs wait.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from slidehook.jobs.files.durable import make_dir, remove_dir, rename
from slidehook.jobs.files.names import JobName
from slidehook.jobs.job import JobState

BUCKET_SIZE = 256
"""How many jobs a bucket takes before a new one is begun."""
_COARSE_CLOCK = 5
"""Linux' CLOCK_REALTIME_COARSE: what file systems take their times from; the `time` module has no name for it."""
SETTLED_NS = 2 * round(time.clock_getres(_COARSE_CLOCK) * 1e9)
"""A listing is trusted while its folder's time stands still, and was older than this when listed: a file
system's clock ticks in steps, so a second change in the same step would not show."""

_BUCKET = re.compile(r"[0-9a-f]{16}")
LANE_S = 0.25
"""See `_Bucket.remaining`."""


class Shard(NamedTuple):
    """One of `of` equal shares of the jobs that wait, by its `number` from 0."""

    number: int
    of: int

    def has(self, job: str) -> bool:
        """Return whether a job is in this lane, by its id; of a name that is no job's too."""
        return zlib.crc32(os.fsencode(job[:25])) % self.of == self.number


ALONE = Shard(0, 1)


class WaitingJobs:
    """The folder `waiting` as one claimer sees it. Not safe for use by several threads at once.

    `trust_times`: whether a folder's time of change can be believed; on a share it is a cache's. `lane` says which
    share of the jobs is this claimer's when many claim at once.
    """

    def __init__(self, root: str, *, trust_times: bool, shard: Callable[[], Shard] = lambda: ALONE) -> None:
        self.root = root
        self._trust_times = trust_times
        self._shard = shard
        self._priorities = _Listing(root, trust_times)
        self._levels: dict[str, _Listing] = {}
        self._bucket = _Bucket("")

    def first(self) -> Iterator[tuple[str, JobName]]:
        """Return the waiting jobs in order, path and name, from what is on disk now.

        The caller takes one by renaming it away, then calls `took`; a name that another took before stays out.
        """
        for priority in self._priorities.names():
            if priority not in self._levels:
                self._levels[priority] = _Listing(f"{self.root}/{priority}", self._trust_times)
            buckets = self._levels[priority].names()
            for bucket in buckets:
                path = f"{self.root}/{priority}/{bucket}"
                yield from self._jobs(path)
                if bucket != buckets[-1]:  # the newest stays for the next put
                    remove_dir(path)

    def _jobs(self, path: str) -> Iterator[tuple[str, JobName]]:
        if self._bucket.path != path:
            self._bucket = _Bucket(path)
        for text in self._bucket.remaining(self._trust_times, self._shard):
            if (name := JobName.parse(JobState.WAITING, text)) is not None:
                yield f"{path}/{text}", name

    def took(self) -> None:
        """Tell that the job given last was taken, so that this change alone makes nobody list anew."""
        self._bucket.took()

    def lost(self) -> None:
        """Tell that another claimer was faster; when that goes on, this one keeps to its lane for a while."""
        self._bucket.lost()


class Enqueuer:
    """Lets jobs into the folder `waiting`, each to its place in the order. Safe for several threads.

    `trust_times` as for `WaitingJobs`; with it, a put lists no unchanged folder.
    """

    def __init__(self, root: str, *, trust_times: bool) -> None:
        self._root = root
        self._trust_times = trust_times
        self._levels: dict[int, _PriorityFolder] = {}

    def enter(self, source: str, name: JobName) -> str:
        """Rename `source` to its place; raises FileNotFoundError when it is gone."""
        level = self._levels.get(name.priority)
        if level is None:
            level = self._levels[name.priority] = _PriorityFolder(f"{self._root}/{name.priority}", self._trust_times)
        while True:
            bucket = level.bucket_for(name)
            target = f"{bucket}/{name}"
            try:
                rename(source, target)
            except FileNotFoundError:
                # Either the source is gone, or the bucket is not there: new, or removed as empty a moment ago.
                folder, _, text = source.rpartition("/")
                if text not in os.listdir(folder):
                    raise
                make_dir(level.path)
                make_dir(bucket)
                continue
            return target


def find(root: str, job_id: str) -> tuple[str, JobName] | None:
    """Find a waiting job; its id says which buckets to look into."""
    for priority in sorted(os.listdir(root)):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            level = f"{root}/{priority}"
            for bucket in sorted((each for each in os.listdir(level) if each <= job_id[:16]), reverse=True):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    for text in os.listdir(f"{level}/{bucket}"):
                        name = JobName.parse(JobState.WAITING, text) if text.startswith(job_id) else None
                        if name is not None:
                            return f"{level}/{bucket}/{text}", name
    return None


def walk(root: str) -> Iterator[tuple[str, list[str]]]:
    """Return every bucket in order, with the sorted names in it, also those that are not ours."""
    for priority in sorted(os.listdir(root)):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for bucket in sorted(os.listdir(f"{root}/{priority}")):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    path = f"{root}/{priority}/{bucket}"
                    yield path, sorted(os.listdir(path))


class _Listing:
    """One folder's sorted names, read again when the folder has changed."""

    def __init__(self, path: str, trust_times: bool) -> None:
        self._path = path
        self._trust_times = trust_times
        self._names: list[str] = []
        self._mtime_ns: int | None = None

    def names(self) -> list[str]:
        """Return the sorted names; none where there is no such folder."""
        try:
            mtime_ns = os.stat(self._path).st_mtime_ns if self._trust_times else None
            if mtime_ns is None or mtime_ns != self._mtime_ns:
                settled = mtime_ns is not None and time.time_ns() - mtime_ns > SETTLED_NS
                self._names = sorted(os.listdir(self._path))
                self._mtime_ns = mtime_ns if settled else None
        except (FileNotFoundError, NotADirectoryError):
            self._names, self._mtime_ns = [], None
        return self._names


class _Bucket:
    """One bucket's jobs that this process has not tried yet."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._names: list[str] = []
        self._mtime_ns: int | None = None
        self._took_at = float("-inf")
        self._crowded = False
        self._lane_until = 0.0

    def remaining(self, trust_times: bool, shard: Callable[[], Shard]) -> Iterator[str]:
        """Return the names in order; lists anew when anybody else has changed the folder.

        If several claimers wanted the first name, each would list the bucket after every claim of another, and lose
        most races. A worker that loses one less than `LANE_S` after a claim therefore keeps to its own lane for
        `LANE_S`, where it need not list. The others take their names at the same moment, so no order is given up.
        """
        if not self._crowded and not self._is_current(trust_times):
            self._list(trust_times)
        while self._names or self._lane_until or self._crowded:
            if self._crowded:
                self._list(trust_times, shard())
            elif self._names:
                yield self._names.pop()
            else:  # what is left is the others', unless they are gone
                self._list(trust_times)

    def _is_current(self, trust_times: bool) -> bool:
        if not self._names:
            return False
        if self._lane_until:
            return time.monotonic() < self._lane_until
        try:
            return trust_times and os.stat(self.path).st_mtime_ns == self._mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _list(self, trust_times: bool, shard: Shard = ALONE) -> None:
        self._crowded = False
        self._lane_until = 0.0
        try:
            self._mtime_ns = os.stat(self.path).st_mtime_ns if trust_times else None
            self._names = sorted(os.listdir(self.path), reverse=True)
        except (FileNotFoundError, NotADirectoryError):
            self._names = []
        if shard.of > 1 and (mine := [each for each in self._names if shard.has(each)]):
            self._names = mine
            self._lane_until = time.monotonic() + LANE_S

    def took(self) -> None:
        self._took_at = time.monotonic()
        if not self._lane_until:
            with contextlib.suppress(FileNotFoundError):
                self._mtime_ns = os.stat(self.path).st_mtime_ns

    def lost(self) -> None:
        self._crowded = not self._lane_until and time.monotonic() - self._took_at < LANE_S


class _PriorityFolder:
    """The buckets of one priority, as one process fills them."""

    def __init__(self, path: str, trust_times: bool) -> None:
        self.path = path
        self._trust_times = trust_times
        self._buckets = _Listing(path, trust_times)
        self._filling, self._count = "", 0
        """The bucket last used, and how many jobs it had when listed and got from here since."""

    def bucket_for(self, name: JobName) -> str:
        """Choose the bucket that a job belongs to by its age, or name a new one.

        A bucket grows past `BUCKET_SIZE` by what other processes put at the same time, since each counts its own.
        """
        buckets = self._buckets.names()
        at = len(buckets) - 1
        if at < 0 or name.job_id < buckets[at] or buckets[at] != self._filling:  # mostly the newest, filled last time
            at = bisect.bisect_right(buckets, name.age) - 1
            while at >= 0 and not _BUCKET.fullmatch(buckets[at]):
                at -= 1
            if at < 0:
                return f"{self.path}/{name.age}"
        bucket = buckets[at]
        if bucket != self._filling or self._count >= BUCKET_SIZE or not self._trust_times:
            self._count, latest = self._look_into(bucket)
            if self._count >= BUCKET_SIZE and latest < name.job_id:
                return f"{self.path}/{name.age}"
            self._filling = bucket
        self._count += 1
        return f"{self.path}/{bucket}"

    def _look_into(self, bucket: str) -> tuple[int, str]:
        try:
            names = os.listdir(f"{self.path}/{bucket}")
        except (FileNotFoundError, NotADirectoryError):
            return 0, ""
        return len(names), max(names, default="")
