"""Standard output and error of the programs that run for long: writing to them neither fails nor waits.

A log goes to a disk, a pipe or a terminal. Each of them can fill up, vanish or stand still, and the work goes on.
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
"""How many texts may wait to be written; what comes while so many wait is dropped."""
_FLUSH = threading.Event()
END_S = 1.0
"""How long a program that ends waits for its last texts to be written, in seconds."""


def protect_output() -> None:
    """Make sys.stdout and sys.stderr streams that neither fail nor block, for the rest of this process.

    A descriptor 0, 1 or 2 that is closed is opened on /dev/null, since the next file that is opened would take its
    number, and get all that is printed. Call this first in a program, and only once more does nothing.
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
    """A text stream to a file descriptor, which a thread of its own writes to.

    Whole lines are written, the rest of one at `flush`. What can't be written is dropped; when writing works again,
    one line tells how many lines are missing. `write` takes no lock, so a signal handler may call it at any point.
    A process that is forked off writes for itself.
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
        """The encoding of what is written."""
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """What becomes of characters that can't be encoded."""
        return "backslashreplace"

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether this is a terminal."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """Say that this can be written to."""
        return True

    def write(self, text: str) -> int:
        """Have a text written soon, or dropped; raises TypeError for bytes, by which click tells texts' streams."""
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
        """Have the rest of a line written soon, too."""
        if self._thread is not None and not self._ended and self._waiting.qsize() < MOST_WAITING:
            self._waiting.put(_FLUSH)

    def _run(self) -> None:
        waiting, rest = self._waiting, ""
        while True:
            text = waiting.get()
            if isinstance(text, threading.Event):
                lines, rest = rest, ""
            else:
                # `print` writes a text and the end of its line one by one, and another process may write meanwhile.
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
                except BlockingIOError:  # whoever opened it has made it so
                    if not _has_room(self._descriptor, END_S):
                        raise
        except OSError:
            self._dropped += 1
        else:
            self._dropped -= dropped

    def end(self) -> None:
        """Wait until all is written, or `END_S` are over; from then on, write only what needs no waiting."""
        if self._thread is not None:
            written = threading.Event()
            self._waiting.put(written)
            written.wait(END_S)
        self._ended = True


def write_out() -> None:
    """Wait until all is written, as at the end of a program, for one that is replaced by another."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, SafeStream):
            stream.end()


def _has_room(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))
