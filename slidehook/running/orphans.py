"""Finds and kills the processes of apps that a killed worker has left behind.

Each child process of a worker has a mark in its environment, which names the worker, and its own child processes
inherit the mark. A process with a cleaned environment is recognized by its output pipe. Both work for processes in
sessions of their own, and after the parent's end. The mark contains the worker's process id and start time, so that a
later process with the same id is not taken for the worker.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path

import structlog

from slidehook.kernel import boot_id
from slidehook.private import private_folder
from slidehook.running.process_tree import end, with_started

VARIABLE = "APP_OF_SLIDEHOOK_WORKER"
"""The environment variable of the mark. It is not a setting, whose names begin with SLIDEHOOK_."""
KEEP_S = 30 * 86400.0
"""How long the note about a child of another host, or of an earlier boot, is kept, in seconds."""
_MARK = re.compile(r"([0-9a-f]{12})\.(\d{1,20})\.(\d{1,10})\.(\d{1,20})\.(\d{1,20})\.[0-9a-f]{8}")

log = structlog.get_logger()


@dataclass(frozen=True)
class Mark:
    """The owner of a process: the worker's `pid` in a process id namespace of a boot, and its output pipe."""

    text: str
    boot: str
    space: str
    pid: int
    started: int
    pipe: int

    @staticmethod
    def new(pipe: int) -> Mark:
        """Create a mark for a child of this process; `pipe` is the inode number of its output pipe."""
        pid = os.getpid()
        text = f"{boot_id()}.{_space()}.{pid}.{_started(pid)}.{pipe}.{secrets.token_hex(4)}"
        mark = Mark.read(text)
        if mark is None:
            raise ValueError(text)
        return mark

    @staticmethod
    def read(text: str) -> Mark | None:
        """Parse a mark; None when the text is not one."""
        match = _MARK.fullmatch(text)
        return None if match is None else Mark(text, match[1], match[2], int(match[3]), int(match[4]), int(match[5]))

    @property
    def is_from_here(self) -> bool:
        """Whether the worker runs, or ran, where this process can see all of its descendants."""
        return (self.boot, self.space) == (boot_id(), _space())

    @property
    def is_left_behind(self) -> bool:
        """Whether the worker ran here and is gone."""
        return self.is_from_here and _started(self.pid) != self.started


class Marked:
    """The processes with one mark. A note in `folder`, if that is writable, stays until `forget`."""

    def __init__(self, folder: Path, pipe: int) -> None:
        self._mark = Mark.new(pipe)
        self._note = folder / self._mark.text
        with contextlib.suppress(OSError):
            private_folder(folder)
            self._note.touch(0o600)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Mark the processes that are started in this block."""
        resource_tracker.ensure_running()  # it belongs to the worker, not to the app, so it must not be marked
        os.environ[VARIABLE] = self._mark.text
        try:
            yield
        finally:
            del os.environ[VARIABLE]

    def find(self) -> list[int]:
        """Return the ids of the marked processes."""
        return _found({self._mark.text}, {self._mark.pipe})

    def forget(self) -> None:
        """Remove the note, once all processes have ended."""
        with contextlib.suppress(OSError):
            self._note.unlink(missing_ok=True)


def end_left_behind(folder: Path) -> None:
    """Kill the processes that dead workers left on this host, found by notes in `folder` and by their marks."""
    noted = [mark for path in _listed(folder) if (mark := Mark.read(path.name)) is not None]
    gone = {mark.text for mark in noted if mark.is_left_behind}
    pipes = {mark.pipe for mark in noted if mark.is_left_behind}

    def find() -> list[int]:
        borne = {text for pid in _pids() if (text := _borne(pid))}
        marks = [mark for text in borne if (mark := Mark.read(text)) is not None and mark.is_left_behind]
        return _found({mark.text for mark in marks}, pipes | {mark.pipe for mark in marks})

    try:
        if ended := end(find):
            log.warning("ended what a killed worker's apps had started", processes=len(ended))
    except OSError as error:
        log.warning("what killed workers have left can't be looked for", reason=str(error))
        return
    for path in _listed(folder):
        with contextlib.suppress(OSError):
            mark = Mark.read(path.name)
            if mark is not None and (
                mark.text in gone or (not mark.is_from_here and path.stat().st_mtime < time.time() - KEEP_S)
            ):
                path.unlink()


def _found(marks: set[str], pipes: set[int]) -> list[int]:
    """Return the ids of processes with one of the marks or output pipes, and of their descendants."""
    mine = os.getpid()
    names = {f"pipe:[{pipe}]" for pipe in pipes}
    found = [pid for pid in _pids() if pid != mine and (_borne(pid) in marks or not names.isdisjoint(_outputs(pid)))]
    return [pid for pid in with_started(found) if pid != mine] if found else []


def _borne(pid: int) -> str:
    """Return the mark of a process; empty if it has none, or may not be read."""
    wanted = f"{VARIABLE}=".encode()
    with contextlib.suppress(OSError):
        for each in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if each.startswith(wanted):
                return each.removeprefix(wanted).decode(errors="replace")
    return ""


def _outputs(pid: int) -> set[str]:
    """Return the names of a process's standard output and error."""
    found = set()
    for number in (1, 2):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/{pid}/fd/{number}"))  # noqa: PTH115 - not a path
    return found


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - names are all it needs


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _space() -> str:
    """Return the id of the process id namespace."""
    return os.readlink("/proc/self/ns/pid").strip("pid:[]")  # noqa: PTH115 - not a path


def _started(pid: int) -> int | None:
    """Return the start time of a process, in clock ticks since the boot; None if it has ended or never existed."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()
    return None if fields[0] in {b"Z", b"X"} else int(fields[19])
