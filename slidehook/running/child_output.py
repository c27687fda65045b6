"""Logs an app's output: the standard output and error of its process become lines of the worker's log."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import re
import select
import sys
import threading
import time
from multiprocessing.connection import Connection

import structlog

from slidehook.terminal import plain

MOST_CHARACTERS = 2000
"""The most characters of one line that are logged."""
BURST, PER_S = 1000, 20.0
"""The most lines at once, and the most a second after that; further lines are only counted."""
SETTLE_BYTES = 4 * 1024 * 1024
"""The most bytes that are read from the pipe when an analysis ends."""
MOST_TRACE = 8000
"""The most characters of a traceback that are kept."""
_CHUNK = 65536
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_IOLBF = 1

log = structlog.get_logger()


class Prints:
    """A pipe for a child's output, and the thread that reads it while the child lives.

    Nothing waits for other processes that still hold the pipe after the child's end.
    """

    def __init__(self) -> None:
        self._reader, self.writer = multiprocessing.Pipe(duplex=False)
        self.inode = os.fstat(self.writer.fileno()).st_ino
        """The pipe's inode number, which is unique while one of its ends is open."""
        os.set_blocking(self._reader.fileno(), False)
        self._reading = threading.Lock()
        self._lines = _Lines()
        self._woken, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._run, name="prints", daemon=True)

    def start(self) -> None:
        """Start reading; the child must already have its end of the pipe."""
        self.writer.close()
        self._thread.start()

    def about(self, **ids: str) -> None:
        """Set the job and app of the next lines; everything printed so far is logged with the previous ones."""
        with self._reading:
            self._read(SETTLE_BYTES)
            self._lines.end()
            self._lines.ids = ids

    def cleaned(self, text: str) -> str:
        """Return a traceback without tokens and control characters; only the end of a long one."""
        lines = "\n".join(self._lines.readable(line) for line in text.splitlines())
        return lines if len(lines) <= MOST_TRACE else f"…{lines[-MOST_TRACE:]}"

    def hide(self, secret: str) -> None:
        """Replace a token wherever it would be logged."""
        if secret:
            self._lines.secrets.add(secret)

    def close(self) -> None:
        """Log the remaining output, and stop reading."""
        os.close(self._wake)
        if self._thread.ident is not None:
            self._thread.join()
        else:
            self.writer.close()
        self._reader.close()
        os.close(self._woken)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            with self._reading:
                is_open = self._read(_CHUNK)
                if self._woken in ready:
                    self._read(SETTLE_BYTES)
                    self._lines.end()
                    return
                if not is_open:
                    self._lines.end()
                    return

    def _read(self, most_bytes: int) -> bool:
        """Log the available output; returns False when no process can print any more."""
        while most_bytes > 0:
            try:
                data = os.read(self._reader.fileno(), _CHUNK)
            except BlockingIOError:
                return True
            if not data:
                return False
            most_bytes -= len(data)
            self._lines.add(data)
        return True


class _Lines:
    """Converts output to log lines, within limits of length and number."""

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}
        self.secrets: set[str] = set()
        self._begun = b""
        self._may = float(BURST)
        self._at = time.monotonic()
        self._left_out = 0

    def add(self, data: bytes) -> None:
        *whole, self._begun = (self._begun + data).split(b"\n")
        for line in whole:
            self._log(line)
        if len(self._begun) > 4 * MOST_CHARACTERS:
            self._begun = self._begun[: 4 * MOST_CHARACTERS]

    def end(self) -> None:
        """Log an unfinished line, and the number of lines left out."""
        if self._begun:
            self._log(self._begun)
            self._begun = b""
        self._log_left_out()

    def _log(self, line: bytes) -> None:
        now = time.monotonic()
        self._may, self._at = min(float(BURST), self._may + (now - self._at) * PER_S), now
        if self._may < 1:
            self._left_out += 1
            return
        self._may -= 1
        self._log_left_out()
        # A progress bar is drawn over and over; a terminal would show its last state.
        shown = line.rstrip(b"\r").rpartition(b"\r")[2][: 4 * MOST_CHARACTERS + 4].decode(errors="replace")
        event = "| " + self.readable(shown)
        log.info(event, **self.ids)

    def readable(self, text: str) -> str:
        """Return a line without colours, tokens and control characters, and shortened if it is too long."""
        text = _COLOUR.sub("", text)
        for each in self.secrets:
            text = text.replace(each, "…")
        text = text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
        return plain(text, keep="\t")

    def _log_left_out(self) -> None:
        if self._left_out:
            log.warning("the app prints too much, lines are left out", lines=self._left_out, **self.ids)
            self._left_out = 0


def print_into(pipe: Connection) -> None:
    """Redirect the output of this process and its children to a pipe, line by line."""
    for number in (1, 2):
        os.dup2(pipe.fileno(), number)
    pipe.close()
    sys.stdout, sys.stderr = (
        open(number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        for number in (1, 2)
    )
    # Native code must also write line by line.
    libc = ctypes.CDLL(None)
    libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, _IOLBF, 0)


def flush_prints() -> None:
    """Flush unfinished lines."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # an app may have closed or replaced it
            stream.flush()
