"""The errors of a disk that can't store a file."""

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
    """Return whether an error persists until an administrator changes the folder or the setting."""
    return error.errno in _LASTING


def reason_of(error: OSError) -> str:
    """Return why an operation failed; a file in place of a folder is named as such."""
    return os.strerror(errno.ENOTDIR) if error.errno == errno.EEXIST else error.strerror or str(error)


@contextmanager
def storing(what: str) -> Iterator[None]:
    """Turn an OSError into DiskFull, or into CannotStore with the reason; `what` is what can't be stored."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise _full(what) from error
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise CannotStore(f"{what} can't be stored on the host {socket.gethostname()}: {reason}") from error


@dataclass(frozen=True)
class Room:
    """The disk space that must stay free: `SLIDEHOOK_MIN_FREE_GB`."""

    keep_free_bytes: int = 0

    @classmethod
    def keeping(cls, min_free_gb: float) -> Room:
        """Keep this many GB free."""
        return cls(int(min_free_gb * 1e9))

    def check(self, folder: Path, wanted_bytes: int, what: str) -> None:
        """Raise DiskFull if `folder` has no room for this many more bytes; call it before they are received."""
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
    """Let the kernel begin to write these bytes of a file to its disk, without waiting for it.

    This is a hint that a file system may ignore; errors are reported by fsync.
    """
    _LIBC.sync_file_range(fd, offset, count, _SYNC_FILE_RANGE_WRITE)
