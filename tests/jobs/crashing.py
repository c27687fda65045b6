"""Stops the queue between any two of its operations on files, or in the middle of one, as a death does.

All that the queue does to jobs on disk it does through `slidehook.jobs.files.durable`, which calls `os`. A
`CuttingOs` takes the place of that `os`, counts the calls, and at the chosen one lets nothing more happen.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from slidehook.jobs.files import durable
from slidehook.private import PRIVATE_DIR

LASTING = frozenset({"create", "fsync", "rename", "link", "unlink", "mkdir", "rmdir"})
"""The calls that change what a loss of power leaves; cut before any other, the disk holds what it held before."""


class PowerCut(BaseException):
    """The process is dead from here on. No `except` of the queue's may take it for an error."""


class Journal:
    """What a disk would hold of a folder's files after a loss of power.

    Names (create, rename, link, unlink, mkdir, rmdir) are journaled in their order, as ext4 and xfs do: an fsync of
    any file or folder makes all those before it durable. A file's content is durable as of that file's own last
    fsync, and empty before the first. What the folder holds at the start is durable.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._folders = {self._root, *(str(path) for path in root.rglob("*") if path.is_dir())}
        self._start: dict[str, object] = {}
        self._durable: dict[object, bytes] = {}
        inodes: dict[int, object] = {}
        for path in root.rglob("*"):
            if path.is_file():
                file = inodes.setdefault(path.stat().st_ino, object())
                self._start[str(path)] = file
                self._durable[file] = path.read_bytes()
        self._now = dict(self._start)
        self._open: dict[int, object] = {}
        self.names: list[tuple[str, str, Any]] = []
        self.synced = 0
        """How many of `names` are durable for certain; any more, in order, may be."""

    def opened(self, path: str, fd: int, *, created: bool) -> None:
        """Note that `fd` was opened, of a file or a folder."""
        if created:
            self._named("create", path, object())
        if path in self._now:
            self._open[fd] = self._now[path]

    def closed(self, fd: int) -> None:
        """Note that `fd` was closed."""
        self._open.pop(fd, None)

    def fsynced(self, fd: int) -> None:
        """Note an fsync that succeeded."""
        if fd in self._open:
            self._durable[self._open[fd]] = Path(f"/proc/self/fd/{fd}").read_bytes()
        self.synced = len(self.names)

    def changed(self, what: str, path: str, other: str = "") -> None:
        """Note another change of a name."""
        self._named(what, path, other)

    def _named(self, what: str, path: str, other: Any) -> None:
        self.names.append((what, path, other))
        _apply(what, path, other, self._now, set())

    def write_to(self, target: Path, names: int) -> None:
        """Make `target`, a new folder, what the disk holds when the first `names` changes of names got through."""
        files, folders = dict(self._start), set(self._folders)
        for what, path, other in self.names[:names]:
            _apply(what, path, other, files, folders)
        for folder in sorted(folders):
            (target / Path(folder).relative_to(self._root)).mkdir(mode=PRIVATE_DIR, parents=True)
        first: dict[object, Path] = {}
        for path, file in files.items():
            place = target / Path(path).relative_to(self._root)
            if file in first:
                place.hardlink_to(first[file])
            else:
                first[file] = place
                place.write_bytes(self._durable.get(file, b""))


def _apply(what: str, path: str, other: Any, files: dict[str, object], folders: set[str]) -> None:
    if what == "create":
        files[path] = other
    elif what == "link":
        files[other] = files[path]
    elif what == "rename":
        files[other] = files.pop(path)
    elif what == "unlink":
        del files[path]
    elif what == "mkdir":
        folders.add(path)
    else:
        folders.discard(path)


class CuttingOs:
    """An `os` that dies before its call number `cut_at` (from 0), of the calls that matter, made by this thread.

    With `half`, a write that it dies at has written the first half of its bytes. `journal` is told all that happens.
    """

    def __init__(self, cut_at: int | None = None, *, half: bool = False, journal: Journal | None = None) -> None:
        self.calls: list[str] = []
        self._cut_at = cut_at
        self._half = half
        self._journal = journal
        self._thread = threading.get_ident()
        self._dead = False

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _reach(self, what: str) -> Journal | None:
        """Count a call; returns the journal to tell, None for the calls of other threads, as the heartbeat's."""
        if threading.get_ident() != self._thread:
            return None
        if self._dead or len(self.calls) == self._cut_at:
            self._die()
        self.calls.append(what)
        return self._journal

    def _die(self) -> NoReturn:
        self._dead = True
        raise PowerCut

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        journal = self._reach("create" if flags & os.O_CREAT else "open")
        fd = os.open(path, flags, mode)
        if journal is not None:
            journal.opened(path, fd, created=bool(flags & os.O_CREAT))
        return fd

    def write(self, fd: int, content: bytes) -> int:
        if self._half and len(self.calls) == self._cut_at and not self._dead:
            os.write(fd, content[: len(content) // 2])
        self._reach("write")
        return os.write(fd, content)

    def lseek(self, fd: int, position: int, how: int) -> int:
        self._reach("lseek")
        return os.lseek(fd, position, how)

    def fsync(self, fd: int) -> None:
        journal = self._reach("fsync")
        os.fsync(fd)
        if journal is not None:
            journal.fsynced(fd)

    def close(self, fd: int) -> None:
        os.close(fd)  # the kernel closes a dead process's files
        if (journal := self._reach("close")) is not None:
            journal.closed(fd)

    def rename(self, source: str, target: str) -> None:
        self._name("rename", source, target)

    def link(self, source: str, target: str) -> None:
        self._name("link", source, target)

    def unlink(self, path: str) -> None:
        self._name("unlink", path)

    def mkdir(self, path: str, mode: int) -> None:
        journal = self._reach("mkdir")
        Path(path).mkdir(mode)
        if journal is not None:
            journal.changed("mkdir", path)

    def rmdir(self, path: str) -> None:
        self._name("rmdir", path)

    def _name(self, what: str, *paths: str) -> None:
        journal = self._reach(what)
        getattr(os, what)(*paths)
        if journal is not None:
            journal.changed(what, *paths)


@contextlib.contextmanager
def in_place_of_os(cutting: CuttingOs) -> Iterator[CuttingOs]:
    """Let the queue work with this `os`; ends at the cut as if nothing were wrong."""
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(PowerCut):
        patch.setattr(durable, "os", cutting)
        yield cutting
