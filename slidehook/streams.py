"""Standard output and error of long-running programs: writing to them neither fails nor blocks.

A log goes to a disk, a pipe or a terminal. If it fills up, disappears or blocks, the program still goes on.
"""

from __future__ import annotations

import atexit
import io
import os
import queue
import select
import sys
import threading

MOST_WAITING = 4096
"""The most texts that wait to be written; further ones are dropped."""
_FLUSH = threading.Event()
END_S = 1.0
"""How long an ending program waits for its last texts to be written, in seconds."""


def protect_output() -> None:
    """Make sys.stdout and sys.stderr streams that neither fail nor block, for the rest of this process.

    A closed descriptor 0, 1 or 2 is opened on /dev/null; otherwise the next opened file would get its number and all
    that is printed. Call this first in a program; further calls do nothing.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
            os.set_inheritable(number, True)
    if not isinstance(sys.stdout, SafeStream):
        sys.stdout = SafeStream(1)
    if not isinstance(sys.stderr, SafeStream):
        sys.stderr = SafeStream(2)


class SafeStream(io.TextIOBase):
    """A text stream to a file descriptor, written by a separate thread.

    Whole lines are written at once, an unfinished line at `flush`. Text that can't be written is dropped; when
    writing works again, one line states how many lines are missing. `write` takes no lock, so a signal handler may
    call it at any point. A forked process does its own writing.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._dropped = 0
        self._ended = False
        self._begin()
        os.register_at_fork(after_in_child=self._begin)
        atexit.register(self.end)

    def _begin(self) -> None:
        self._waiting: queue.SimpleQueue[str | threading.Event] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the written text."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """How characters that can't be encoded are written."""
        return "backslashreplace"

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether this is a terminal."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Return True: the stream is writable."""
        return True

    def write(self, text: str) -> int:
        """Queue a text to be written, or drop it. Raises TypeError for bytes, as click expects of a text stream."""
        count = str.__len__(text)
        if self._ended:
            if _has_room(self._descriptor, 0):
                self._write(text)
        elif self._waiting.qsize() >= MOST_WAITING:
            self._dropped += 1
        else:
            self._waiting.put(text)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="output", daemon=True)
                self._thread.start()
        return count

    def flush(self) -> None:
        """Queue an unfinished line to be written."""
        if self._thread is not None and not self._ended and self._waiting.qsize() < MOST_WAITING:
            self._waiting.put(_FLUSH)

    def _run(self) -> None:
        waiting, rest = self._waiting, ""
        while True:
            text = waiting.get()
            if isinstance(text, threading.Event):
                lines, rest = rest, ""
            else:
                # `print` writes a text and its line break separately, and another process may write in between.
                lines, end, rest = (rest + text).rpartition("\n")
                lines += end
            if lines:
                self._write(lines)
            if isinstance(text, threading.Event):
                text.set()

    def _write(self, text: str) -> None:
        if dropped := self._dropped:
            text = f"\n{dropped} lines could not be written here\n{text}"
        content = memoryview(text.encode(errors=self.errors))
        try:
            while content:
                try:
                    content = content[os.write(self._descriptor, content) :]
                except BlockingIOError:  # the descriptor was opened as non-blocking
                    if not _has_room(self._descriptor, END_S):
                        raise
        except OSError:
            self._dropped += 1
        else:
            self._dropped -= dropped

    def end(self) -> None:
        """Wait until all is written, at most `END_S`; afterwards, write only what does not block."""
        if self._thread is not None:
            written = threading.Event()
            self._waiting.put(written)
            written.wait(END_S)
        self._ended = True


def write_out() -> None:
    """Wait until all is written, as at the end of a program; for one that is replaced by another (exec)."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, SafeStream):
            stream.end()


def _has_room(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))
