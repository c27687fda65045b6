"""What an app prints: its process's standard output and error become lines of the worker's log."""

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
"""How much of one line is logged."""
BURST, PER_S = 1000, 20.0
"""How many lines an app may print at once, and how many a second from then on; the others are counted only."""
SETTLE_BYTES = 4 * 1024 * 1024
"""How much is read at most of what lies in the pipe when an analysis ends."""
MOST_TRACE = 8000
"""How many characters of a traceback are kept."""
_CHUNK = 65536
_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_IOLBF = 1

log = structlog.get_logger()


class Prints:
    """A pipe that a child prints into, and the thread that reads it for as long as the child lives.

    A process that holds the other end when the child is gone keeps nobody waiting.
    """

    def __init__(self) -> None:
        self._reader, self.writer = multiprocessing.Pipe(duplex=False)
        self.inode = os.fstat(self.writer.fileno()).st_ino
        """The pipe's number; no other pipe has it as long as one of its ends is open."""
        os.set_blocking(self._reader.fileno(), False)
        self._reading = threading.Lock()
        self._lines = _Lines()
        self._woken, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._run, name="prints", daemon=True)

    def start(self) -> None:
        """Read; the child has its end now."""
        self.writer.close()
        self._thread.start()

    def about(self, **ids: str) -> None:
        """Say which job and app the next lines belong to; what was printed before belongs to the former."""
        with self._reading:
            self._read(SETTLE_BYTES)
            self._lines.end()
            self._lines.ids = ids

    def cleaned(self, text: str) -> str:
        """Give a traceback as the log shows it: without tokens and control characters, and of a long one its end."""
        lines = "\n".join(self._lines.readable(line) for line in text.splitlines())
        return lines if len(lines) <= MOST_TRACE else f"…{lines[-MOST_TRACE:]}"

    def hide(self, secret: str) -> None:
        """Replace a token in what is logged."""
        if secret:
            self._lines.secrets.add(secret)

    def close(self) -> None:
        """Log what was printed, and read no more."""
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
                goes_on = self._read(_CHUNK)
                if self._woken in ready:
                    self._read(SETTLE_BYTES)
                    self._lines.end()
                    return
                if not goes_on:
                    self._lines.end()
                    return

    def _read(self, most_bytes: int) -> bool:
        """Log what is there; False when nobody can print any more."""
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
    """Makes lines of the log from what is printed, not too long and not too many."""

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
        """Log a line that has no end, and how many were left out."""
        if self._begun:
            self._log(self._begun)
            self._begun = b""
        self._tell_left_out()

    def _log(self, line: bytes) -> None:
        now = time.monotonic()
        self._may, self._at = min(float(BURST), self._may + (now - self._at) * PER_S), now
        if self._may < 1:
            self._left_out += 1
            return
        self._may -= 1
        self._tell_left_out()
        # Of a bar that is drawn over and over, the last is what a terminal would show.
        shown = line.rstrip(b"\r").rpartition(b"\r")[2][: 4 * MOST_CHARACTERS + 4].decode(errors="replace")
        said = "| " + self.readable(shown)
        log.info(said, **self.ids)

    def readable(self, text: str) -> str:
        """Give a line without colours, tokens and control characters, and not too long."""
        text = _COLOUR.sub("", text)
        for each in self.secrets:
            text = text.replace(each, "…")
        text = text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
        return plain(text, keep="\t")

    def _tell_left_out(self) -> None:
        if self._left_out:
            log.warning("the app prints too much, lines are left out", lines=self._left_out, **self.ids)
            self._left_out = 0


def print_into(pipe: Connection) -> None:
    """Have this process, and what it starts, print into a pipe: each line as soon as it is whole."""
    for number in (1, 2):
        os.dup2(pipe.fileno(), number)
    pipe.close()
    sys.stdout, sys.stderr = (
        open(number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        for number in (1, 2)
    )
    # So does what is not written in Python.
    libc = ctypes.CDLL(None)
    libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, _IOLBF, 0)


def flush_prints() -> None:
    """Print what has no line break yet."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # an app may have closed or replaced it
            stream.flush()
