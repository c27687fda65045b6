"""Finds and ends what apps have started and a worker that was killed could not end.

A child process of a worker bears a mark, which says whose it is, in its environment, and all that it starts inherits
that. A process that cleans its environment is known by the pipe that it prints into. Both hold in sessions of their
own, and when the parent is gone. The mark names the worker by process id and start time, so that a later process with
the same id does not count as it.
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
"""The environment variable that bears the mark. No setting: those begin with SLIDEHOOK_."""
KEEP_S = 30 * 86400.0
"""How long the note of a child that another host, or an earlier boot, has started is kept, in seconds."""
_MARK = re.compile(r"([0-9a-f]{12})\.(\d{1,20})\.(\d{1,10})\.(\d{1,20})\.(\d{1,20})\.[0-9a-f]{8}")

log = structlog.get_logger()


@dataclass(frozen=True)
class Mark:
    """Whose a process is: `boot` and `space` say where the worker's `pid` counts, `pipe` what its apps print into."""

    text: str
    boot: str
    space: str
    pid: int
    started: int
    pipe: int

    @staticmethod
    def new(pipe: int) -> Mark:
        """Make a mark for a child of this process that prints into `pipe`, which is the number of its inode."""
        pid = os.getpid()
        text = f"{boot_id()}.{_space()}.{pid}.{_started(pid)}.{pipe}.{secrets.token_hex(4)}"
        mark = Mark.read(text)
        if mark is None:
            raise ValueError(text)
        return mark

    @staticmethod
    def read(text: str) -> Mark | None:
        """Read a mark; None when it is none."""
        match = _MARK.fullmatch(text)
        return None if match is None else Mark(text, match[1], match[2], int(match[3]), int(match[4]), int(match[5]))

    @property
    def is_from_here(self) -> bool:
        """Whether the worker runs, or ran, where this process sees all that it can have started."""
        return (self.boot, self.space) == (boot_id(), _space())

    @property
    def is_left_behind(self) -> bool:
        """Whether the worker ran here and is gone."""
        return self.is_from_here and _started(self.pid) != self.started


class Marked:
    """What bears one mark: it is noted in `folder`, if that can be written, until `end` has ended it."""

    def __init__(self, folder: Path, pipe: int) -> None:
        self._mark = Mark.new(pipe)
        self._note = folder / self._mark.text
        with contextlib.suppress(OSError):
            private_folder(folder)
            self._note.touch(0o600)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Have what is started in this block bear the mark."""
        resource_tracker.ensure_running()  # the worker's own, and not the app's: it may not bear it
        os.environ[VARIABLE] = self._mark.text
        try:
            yield
        finally:
            del os.environ[VARIABLE]

    def find(self) -> list[int]:
        """Give the processes that bear the mark."""
        return _found({self._mark.text}, {self._mark.pipe})

    def forget(self) -> None:
        """Remove the note: all has ended."""
        with contextlib.suppress(OSError):
            self._note.unlink(missing_ok=True)


def end_left_behind(folder: Path) -> None:
    """End what workers that are gone have left on this host, as noted in `folder`, or as the processes say."""
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
    """Give the processes with one of the marks, those that print into one of the pipes, and what they started."""
    mine = os.getpid()
    names = {f"pipe:[{pipe}]" for pipe in pipes}
    found = [pid for pid in _pids() if pid != mine and (_borne(pid) in marks or not names.isdisjoint(_outputs(pid)))]
    return [pid for pid in with_started(found) if pid != mine] if found else []


def _borne(pid: int) -> str:
    """Give the mark of a process; empty without one, and of a process that may not be looked at."""
    wanted = f"{VARIABLE}=".encode()
    with contextlib.suppress(OSError):
        for each in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if each.startswith(wanted):
                return each.removeprefix(wanted).decode(errors="replace")
    return ""


def _outputs(pid: int) -> set[str]:
    """Give what a process's standard output and error are."""
    found = set()
    for number in (1, 2):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/{pid}/fd/{number}"))  # noqa: PTH115 - it names no path
    return found


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - names are all it needs


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _space() -> str:
    """Name the process id namespace, in which process ids count."""
    return os.readlink("/proc/self/ns/pid").strip("pid:[]")  # noqa: PTH115 - it names no path


def _started(pid: int) -> int | None:
    """Say when a process was started, in clock ticks since the boot; None when there is none, or it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()
    return None if fields[0] in {b"Z", b"X"} else int(fields[19])
