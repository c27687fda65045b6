"""Folders and files that only their owner can use: they hold slides, results and tokens."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

PRIVATE_DIR = 0o700
PRIVATE_FILE = 0o600
ASIDE_AGE_S = 1.0
"""How long after its last write a half-written file is kept, in seconds: it may be about to be renamed."""


def private_folder(folder: str | Path) -> None:
    """Make a folder and its missing parents, each with mode 0700 whatever the umask.

    Existing folders are not changed, even if another process has just made them. Raises OSError: FileExistsError
    if the name belongs to something else.
    """
    path = Path(folder)
    try:
        _make(path)
    except FileNotFoundError:
        if path.parent == path:
            raise
        private_folder(path.parent)
        _make(path)


def _make(path: Path) -> None:
    try:
        path.mkdir(PRIVATE_DIR)
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        undo_mask(path)


def undo_mask(path: str | Path) -> None:
    """Set the mode 0700 of a new folder if the umask removed some of it."""
    with contextlib.suppress(OSError):  # a share may not support modes, or another process has removed it again
        if Path(path).stat().st_mode & 0o777 != PRIVATE_DIR:
            Path(path).chmod(PRIVATE_DIR)


def open_private(path: Path) -> BinaryIO:
    """Open a file for writing, with mode 0600 whatever the umask; an existing one is overwritten. Raises OSError."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE_FILE), "w+b")
    with contextlib.suppress(OSError):  # a share may not support modes
        os.fchmod(file.fileno(), PRIVATE_FILE)
    return file


def write_private(path: Path, content: bytes) -> None:
    """Write a file, with mode 0600 whatever the umask; an existing one is overwritten. Raises OSError."""
    with open_private(path) as file:
        file.write(content)


@contextlib.contextmanager
def replacing(path: Path, *, fsync: bool = False) -> Iterator[BinaryIO]:
    """Open a file beside `path` for writing, with mode 0600; at the end of the block it replaces `path`.

    A reader finds the old file or the complete new one. If the block or the disk fails, the new file is removed and
    `path` is unchanged. `fsync`: write the content to the disk before it replaces `path`. Safe for several threads
    and processes: the last one wins. Raises OSError.
    """
    # Part of the name only: a file system may allow 255 bytes, and `path` may use them all.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:64]}.", suffix=".part", dir=path.parent)
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            with contextlib.suppress(OSError):  # a share may not support modes or locks
                os.fchmod(descriptor, PRIVATE_FILE)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # goes with this process: see `drop_asides`
            yield file
            file.flush()
            if fsync:
                os.fsync(descriptor)
        aside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise


def replace_private(path: Path, content: bytes, *, fsync: bool = False) -> None:
    """Write this content to `path`, with mode 0600: completely or not at all, see `replacing`. Raises OSError."""
    with replacing(path, fsync=fsync) as file:
        file.write(content)


def drop_asides(folder: Path) -> None:
    """Remove the files that dead processes left in `folder` while they were `replacing` others.

    While its writer is alive, a file is locked, or was written less than `ASIDE_AGE_S` ago.
    """
    for aside in folder.glob(".*.part"):
        with contextlib.suppress(OSError), aside.open("r+b") as file:  # another process may be removing it as well
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(file.fileno()).st_mtime >= ASIDE_AGE_S:
                aside.unlink()
