"""Every file operation of the queue that changes something.

Nothing else in the queue writes, renames or removes a job, so a test that stops these operations can stop the queue
between any two of its steps.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time

from slidehook.errors import JobDamaged
from slidehook.private import PRIVATE_DIR, PRIVATE_FILE, undo_mask

READ_BYTES = 1 << 16
MOST_BYTES = 64 << 20
"""No job's file is larger: what a webhook takes is a fraction of it."""
OTHER_NAME_S, OTHER_NAME_LOOK_S = 3.0, 0.05
_UNSYNCABLE = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES})
"""What file systems answer that can't fsync a folder, and need not."""


def _open(path: str, flags: int) -> int:
    """Open a file that exists, also while this host has it open by another of its names.

    On CIFS a file has one lease on a host, by the name that it was opened by first; by another one, Samba answers
    EINVAL until that is closed, which the kernel puts off for a second (`closetimeo`).
    """
    until = time.monotonic() + OTHER_NAME_S
    while True:
        try:
            return os.open(path, flags | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.EINVAL or time.monotonic() > until:
                raise
        time.sleep(OTHER_NAME_LOOK_S)


class NewFile:
    """A new file, mode 0600, that the disk is writing already while its maker goes on; durable after `sync`.

    As a context manager: when it is left without `sync`, or with an error of it, no file is left. Raises
    FileExistsError when there is one at `path`.
    """

    __slots__ = ("_durable", "_fd", "_path")

    def __init__(self, path: str, content: bytes) -> None:
        self._path = path
        self._durable = False
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            _write_all(self._fd, content)
            # Linux begins to write what it is told to forget; else the disk would rest until the fsync.
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            self.__exit__(None, error, None)
            raise

    def __enter__(self) -> NewFile:
        return self

    def sync(self, folder: str | None = None) -> None:
        """Wait until the content is durable, and the names in `folder`, where one is given.

        The names first: the disk goes on writing the content meanwhile, which a wait for it would keep it from.
        """
        if folder is not None:
            sync_dir(folder)
        os.fsync(self._fd)
        self._durable = True

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            os.close(self._fd)
        except OSError:
            self._durable = False
            raise
        finally:
            if not self._durable:
                with contextlib.suppress(OSError):
                    os.unlink(self._path)


def write_new(path: str, content: bytes) -> None:
    """Create `path` with `content`, fsynced, mode 0600; on an error nothing is left. Raises FileExistsError."""
    with NewFile(path, content) as file:
        file.sync()


def read_whole(path: str) -> bytes:
    """Read a file; raises FileNotFoundError, and JobDamaged for a folder, a link, a pipe, and over `MOST_BYTES`."""
    try:
        fd = _open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise JobDamaged("the job's file is a link or a socket") from error
        raise
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise JobDamaged("the job's file is not a file")
        if status.st_size > MOST_BYTES:
            raise JobDamaged(f"the job's file is larger than {MOST_BYTES >> 20} MiB")
        pieces = []
        while piece := os.read(fd, READ_BYTES):
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        os.close(fd)


def append(path: str, content: bytes) -> None:
    """Append lines to a file that exists; raises FileNotFoundError rather than create it.

    A line that was cut off before, as by a full disk, is ended first: what comes now must not be lost with it.
    """
    fd = _open(path, os.O_RDWR | os.O_APPEND)
    try:
        size = os.fstat(fd).st_size
        whole = size == 0 or os.pread(fd, 1, size - 1) == b"\n"
        _write_all(fd, content if whole else b"\n" + content)
    finally:
        os.close(fd)


def overwrite(path: str, offset: int, content: bytes) -> None:
    """Write `content` at `offset` of a file that exists."""
    fd = _open(path, os.O_WRONLY)
    try:
        os.lseek(fd, offset, os.SEEK_SET)
        _write_all(fd, content)
    finally:
        os.close(fd)


def sync_file(path: str) -> None:
    """Make a file's content durable, and with it, where names are journaled in order, the renames before."""
    fd = _open(path, os.O_WRONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def rename(source: str, target: str) -> None:
    """Rename; raises FileNotFoundError when the source is gone, or the target's folder is."""
    os.rename(source, target)


def link(source: str, target: str) -> None:
    """Give a file a second name; raises FileExistsError, FileNotFoundError."""
    os.link(source, target)


def remove(path: str) -> bool:
    """Remove a file; False when it was gone already, or is a folder that somebody made there."""
    try:
        os.unlink(path)
    except (FileNotFoundError, IsADirectoryError):
        return False
    return True


def make_dir(path: str) -> None:
    """Make a folder, mode 0700; one that is there already is fine."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, PRIVATE_DIR)
        undo_mask(path)


def remove_dir(path: str) -> bool:
    """Remove a folder if it is empty; False when it is not, or gone already."""
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR}:
            return False
        raise
    return True


def sync_dir(path: str) -> None:
    """Make the names in a folder durable. Some network file systems can't, and need not: passed over there."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _UNSYNCABLE:
            raise
    finally:
        os.close(fd)


def _write_all(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
