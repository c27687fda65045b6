"""Proves, before a worker starts, that locks in the queue directory are what the queue takes them for."""

from __future__ import annotations

import contextlib
import errno
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, SoftFileLock, Timeout

from slidehook.disk import is_lasting
from slidehook.errors import QueueError, QueueUnusable
from slidehook.jobs.files.claimers import BEAT_S, boot_of, lock_at, lock_is_free, new_claimer_id, read_beats
from slidehook.jobs.files.durable import remove, write_new
from slidehook.jobs.files.layout import FOLDERS
from slidehook.jobs.files.watch import Mount, mount_of

BEATS_WATCHED = 3
"""For how many heartbeats another host's claimer is watched whose lock could be had."""
RELOCK_BEATS = 7
"""For how many, if it lives: a host that was cut off from its share has its locks again some 10 s later."""
LOOK_S = 0.5
"""Seconds between two checks: rare, since each takes the lock for a moment from a process that wants it."""

PROBE_BYTES = 4096
"""How much is stored to find out whether a job can be."""

_CIFS = frozenset({"nobrl", "nolock"})
_NFS = frozenset({"nolock", "local_lock=flock", "local_lock=all"})
LOCAL_LOCKS = {
    "cifs": _CIFS,
    "smb3": _CIFS,
    "smbfs": _CIFS,
    "nfs": _NFS,
    "nfs4": _NFS,
    "lustre": frozenset({"localflock", "noflock"}),
    "gfs2": frozenset({"localflocks"}),
    "ocfs2": frozenset({"localflocks"}),
}
"""The mount options, by type of file system, with which one host's locks are not seen on another."""
NO_SHARED_LOCKS = frozenset({"fuse.sshfs"})
"""File systems that never tell another host of a lock."""
_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL})
"""What flock answers on a file system that has no locks, or can't reach those who keep them."""


class LocksDontWork(QueueError):
    """Locks in the queue directory have no effect, so that two workers could run one slide."""

    retryable = False


def check_locks(root: Path, *, mounts: str | None = None, beat_s: float = BEAT_S) -> None:
    """Raise LocksDontWork unless locks in the queue directory `root` exclude other takers, on other hosts too.

    `mounts`: the text of `/proc/mounts`, when another than this host's is to be believed. `beat_s`: how often
    claimers beat. Takes a few ms; three beats where a claimer of another host died, and seven where one lives and
    its lock can be had. Leaves nothing behind. Raises QueueError when the directory can't be used at all.
    """
    if mounts is None:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    check_mount(root, mount_of(root.resolve(), mounts))
    try:
        _check_own_lock(root)
        _check_others(root, beat_s)
    except OSError as error:
        kind = QueueUnusable if is_lasting(error) else QueueError
        raise kind(
            f"SLIDEHOOK_QUEUE_DIR: locks can't be tried in the queue directory {root}: {error.strerror or error}"
        ) from error


def check_writable(root: Path) -> None:
    """Raise QueueUnusable unless this process may change the names in every folder of the queue directory `root`."""
    for name in FOLDERS:
        if not os.access(root / name, os.R_OK | os.W_OK | os.X_OK):
            raise QueueUnusable(f"SLIDEHOOK_QUEUE_DIR: this user may not write to {root / name}")


def check_puttable(root: Path) -> None:
    """Raise QueueError, with a sentence, unless a job can be put into the queue directory `root` just now.

    Stores a file as large as a job, durably, and removes it. Whatever a process that dies meanwhile leaves, a purge
    removes.
    """
    try:
        for name in FOLDERS:
            os.stat(root / name)
            if not os.access(root / name, os.R_OK | os.W_OK | os.X_OK):
                raise QueueError(f"SLIDEHOOK_QUEUE_DIR: no job can be put now: {root / name} can't be written")
        path = str(root / "tmp" / new_claimer_id("probe"))
        try:
            write_new(path, b"\0" * PROBE_BYTES)
        finally:
            remove(path)
    except OSError as error:
        raise QueueError(
            f"SLIDEHOOK_QUEUE_DIR: no job can be put into {root} now: {error.strerror or error}"
        ) from error


def check_mount(root: Path, mount: Mount) -> None:
    """Raise LocksDontWork if the mount that holds `root` says itself that its locks stay on this host."""
    if mount.kind in NO_SHARED_LOCKS:
        raise LocksDontWork(
            f"the queue directory {root} lies on {mount.kind}, which tells no other host of a lock; "
            f"put it on a CIFS or NFS share instead of {mount.point}"
        )
    if found := sorted(LOCAL_LOCKS.get(mount.kind, frozenset()) & mount.options):
        raise LocksDontWork(
            f"the queue directory {root} lies on a share mounted with {' and '.join(found)}, so other hosts do not "
            f"see this host's locks; mount {mount.point} without that option"
        )


def _check_own_lock(root: Path) -> None:
    """Take a lock and find that it can't be had a second time."""
    name = new_claimer_id("probe")
    first, second = lock_at(root, name), lock_at(root, name)
    try:
        with _taken(first, root):
            try:
                with _taken(second, root):
                    raise LocksDontWork(
                        f"a lock in the queue directory {root} can be had twice, so the file system does not honour "
                        "flock; put the queue on a local disk, or on a CIFS or NFS share with locks"
                    )
            except Timeout:
                return
    finally:
        remove(first.lock_file)


@contextlib.contextmanager
def _taken(lock: BaseFileLock, root: Path) -> Iterator[None]:
    """Hold a lock; raises Timeout when another has it, LocksDontWork when there is no such thing as a lock."""
    missing = f"the file system of the queue directory {root} knows no flock; put the queue on one that does"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # filelock warns that it only pretends to lock
            lock.acquire(blocking=False)
    except NotImplementedError as error:
        raise LocksDontWork(missing) from error
    except OSError as error:
        if isinstance(error, Timeout) or error.errno not in _NO_LOCKS:
            raise
        raise LocksDontWork(missing) from error
    try:
        if isinstance(lock, SoftFileLock):
            raise LocksDontWork(missing)
        yield
    finally:
        lock.release()


def _check_others(root: Path, beat_s: float) -> None:
    """Raise LocksDontWork if a claimer on another host lives, and its lock can be had all the same."""
    here = boot_of(new_claimer_id("probe"))
    locks = set(os.listdir(root / "claimers"))
    others = [each for each in read_beats(root) if f"{each}.lock" in locks and boot_of(each) not in {here, None}]
    free = [each for each in others if lock_is_free(root, each)]
    # A beat that is counted only now, and grows later, is that of a claimer that lived when its lock was tried.
    before = read_beats(root)
    suspects = {each: before[each] for each in free if each in before}
    began = time.monotonic()
    alive: set[str] = set()
    while suspects and time.monotonic() - began < (RELOCK_BEATS if alive else BEATS_WATCHED) * beat_s:
        time.sleep(LOOK_S)
        now = read_beats(root)
        alive = {each for each, number in suspects.items() if now.get(each, -1) > number}
        for each in [each for each in alive if not lock_is_free(root, each)]:
            del suspects[each]
            alive.discard(each)
    if alive:
        raise LocksDontWork(
            f"{min(alive)} works on the queue {root} on another host, and yet its lock can be had on this one; mount "
            "the share with locks on both hosts (CIFS: without nobrl, NFS: without nolock), and start that one again"
        )
