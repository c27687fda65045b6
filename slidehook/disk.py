"""What a disk that takes no file is called, on whichever host it happens."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slidehook.errors import CannotStore, DiskFull

_LIBC = ctypes.CDLL(None)
_LIBC.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
_SYNC_FILE_RANGE_WRITE = 2
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


_LASTING = frozenset(
    {
        errno.EACCES,
        errno.EEXIST,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)


def is_lasting(error: OSError) -> bool:
    """Return whether an error stays until somebody changes the folder or the setting."""
    return error.errno in _LASTING


def reason_of(error: OSError) -> str:
    """Return why an operation failed, of a file where a folder should be as that."""
    return os.strerror(errno.ENOTDIR) if error.errno == errno.EEXIST else error.strerror or str(error)


@contextmanager
def storing(what: str) -> Iterator[None]:
    """Raise DiskFull, or CannotStore with the reason, where an OSError is raised; `what` can't be stored."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise _full(what) from error
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CannotStore(f"{what} can't be stored on the host {socket.gethostname()}: {reason}") from error


@dataclass(frozen=True)
class Room:
    """How much of a disk must stay free, whatever is fetched: `SLIDEHOOK_MIN_FREE_GB`."""

    keep_free_bytes: int = 0

    @classmethod
    def keeping(cls, min_free_gb: float) -> Room:
        """Keep so many GB free."""
        return cls(int(min_free_gb * 1e9))

    def check(self, folder: Path, wanted_bytes: int, what: str) -> None:
        """Raise DiskFull when `folder` has no room for so many bytes more: better before they come than after."""
        with storing(what):
            status = os.statvfs(folder)
        free = status.f_bavail * status.f_frsize
        if free < wanted_bytes:
            raise _full(what)
        if free < wanted_bytes + self.keep_free_bytes:
            kept = f"{self.keep_free_bytes / 1e9:g} GB that SLIDEHOOK_MIN_FREE_GB keeps free"
            raise DiskFull(f"the disk of the host {socket.gethostname()} has no room for {what} beside the {kept}")


def _full(what: str) -> DiskFull:
    return DiskFull(f"the disk of the host {socket.gethostname()} is full: no room for {what}")


def begin_write_back(fd: int, offset: int, count: int) -> None:
    """Have the kernel begin to write these bytes of a file to its disk, without waiting for it.

    A hint: what a file system makes of it, if anything, does not matter, and an error shows at the fsync.
    """
    _LIBC.sync_file_range(fd, offset, count, _SYNC_FILE_RANGE_WRITE)
