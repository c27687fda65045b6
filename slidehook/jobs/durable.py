"""The few file operations that the queue is built of, each whole or not at all, and durable when it returns."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_DIR = 0o700


def write_new(path: Path, content: bytes) -> None:
    """Create `path` with `content`, fsynced, mode 0600; on any error nothing is left. Raises FileExistsError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        try:
            _write_all(fd, content)
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def append(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Append to a file that exists; raises FileNotFoundError rather than create it."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        _write_all(fd, content)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def overwrite(path: Path, offset: int, content: bytes) -> None:
    """Write `content` at `offset` of a file that exists, and fsync it."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.lseek(fd, offset, os.SEEK_SET)
        _write_all(fd, content)
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_dir(path: Path) -> None:
    """Make the names in a folder durable. Some network file systems can't, and need not: passed over there."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(fd)


def make_dir(path: Path) -> None:
    """Make a folder (mode 0700) and its name durable; one that is there already is fine."""
    try:
        path.mkdir(PRIVATE_DIR)
    except FileExistsError:
        return
    sync_dir(path.parent)


def _write_all(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
