"""Notices new work: by inotify on a local disk, by polling on a share, where inotify does not report other hosts."""

from __future__ import annotations

import re
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import structlog
import watchfiles

from slidehook.jobs.files.layout import Layout

REMOTE_FILE_SYSTEMS = frozenset({"cifs", "smb3", "smbfs", "nfs", "nfs4", "fuse.sshfs", "9p", "ceph", "glusterfs"})
"""Types in `/proc/mounts` that other hosts may change."""
STEP_MS = 10
"""How long inotify's events are gathered before they wake the worker."""
LOOK_MS = 20
"""The longest look for inotify's events; a wait is a series of looks."""
POLL_FIRST_S, POLL_MOST_S = 0.1, 1.5
"""How often a share is looked at: at first, and after long idleness."""
_ESCAPED = re.compile(r"\\([0-7]{3})")
"""How `/proc/mounts` writes a space, a tab, a line break and a backslash."""


log = structlog.get_logger()


@dataclass(frozen=True)
class Mount:
    """A line of `/proc/mounts`: the type of file system, where it is mounted, and how."""

    kind: str
    point: str
    options: frozenset[str]


def mount_of(path: Path, mounts: str) -> Mount:
    """Return which mount holds `path`, from the text of `/proc/mounts`."""
    best = Mount("unknown", "", frozenset())
    for line in mounts.splitlines():
        _, point, kind, options, *_ = line.split(" ")
        point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), point)
        inside = str(path) == point or str(path).startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best.point):
            best = Mount(kind, point, frozenset(options.split(",")))
    return best


def file_system_of(path: Path, mounts: str) -> str:
    """Return which type of file system holds `path`, from the text of `/proc/mounts`."""
    return mount_of(path, mounts).kind


def is_remote(root: Path) -> bool:
    """Return whether other hosts may change files in `root`, which this kernel then shows late."""
    mounts = Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    return file_system_of(root.resolve(), mounts) in REMOTE_FILE_SYSTEMS


class QueueWatch:
    """Waits until something may have come into the queue.

    It watches only while the worker is idle: a busy one would be woken by every other worker's claim and collect
    events that it does not read.
    """

    def __init__(self, layout: Layout) -> None:
        self.remote = is_remote(layout.root)
        self._paths = [layout.waiting, layout.parked]
        self._stop = Event()
        self._idle_s = POLL_FIRST_S
        self._changes: Generator[set[tuple[watchfiles.Change, str]]] | None = None
        self._blind = False

    def wait(self, timeout_s: float) -> None:
        """Return at a change below `waiting` or `parked`, or after about `timeout_s` seconds (≥ 0).

        On a local disk, the first wait after `busy` begins to watch and returns soon: look for work again, since
        some may have come before.
        """
        if self.remote:
            began = time.monotonic()
            self._stop.wait(min(timeout_s, self._idle_s))
            if time.monotonic() - began >= self._idle_s:
                self._idle_s = min(self._idle_s * 1.5, POLL_MOST_S)
            return
        try:
            if self._changes is None:
                self._changes = self._watch()
                next(self._changes, None)  # the first look begins to watch
                return
            until = time.monotonic() + timeout_s
            while time.monotonic() < until and not self._stop.is_set():
                if next(self._changes, None):
                    return
        except (OSError, RuntimeError) as error:
            # The kernel has no watch left for us, or a folder was removed during a look: watchfiles' own error is a
            # RuntimeError.
            if not self._blind:
                log.warning("new jobs are looked for instead of noticed", reason=str(error))
            self._blind = True
            self._unwatch()
            self._stop.wait(min(timeout_s, POLL_FIRST_S))

    def busy(self) -> None:
        """Tell that there was work: a share is looked at often again, a local disk not at all until the next wait."""
        self._idle_s = POLL_FIRST_S
        self._unwatch()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._unwatch()

    def _watch(self) -> Generator[set[tuple[watchfiles.Change, str]]]:
        return watchfiles.watch(
            *self._paths,
            watch_filter=None,
            debounce=STEP_MS,
            step=STEP_MS,
            stop_event=self._stop,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            force_polling=False,
        )

    def _unwatch(self) -> None:
        if self._changes is not None:
            self._changes.close()
            self._changes = None
