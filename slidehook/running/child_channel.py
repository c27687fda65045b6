"""The messages of a child to its worker during one analysis: progress, a refused token, and the end."""

from __future__ import annotations

import select
import threading
import time
from dataclasses import dataclass, field

from slidehook.results.sanitize import clipped
from slidehook.running.message_pipe import Line

SEND_EVERY_S = 0.1
"""The shortest time between two progress messages, in seconds."""


@dataclass(frozen=True)
class ProgressMessage:
    """The progress of an analysis: `percent` (0…100), and a short text."""

    percent: float
    text: str


@dataclass(frozen=True)
class TokenRefused:
    """The slide's system refused this token; the worker answers with another one, or None."""

    token: str = field(repr=False)


class ChildReporter:
    """Reports on one analysis. Thread-safe. Calls after the end are ignored.

    Reporting progress is cheap, however often an app does it: only the newest progress is sent, at most every
    `SEND_EVERY_S`, and without waiting for room in the pipe.
    """

    def __init__(self, pipe: Line) -> None:
        self._pipe = pipe
        self._changed = threading.Condition()
        self._asking = threading.Lock()
        """Held until a question is answered. `_changed` is not held, so that progress can be reported meanwhile."""
        self._newest: ProgressMessage | None = None
        self._sent_at = float("-inf")
        self._late: threading.Thread | None = None
        self._over = False

    def progress(self, percent: float, text: str = "") -> None:
        """Send progress now, or the newest of several a little later; does nothing after the end."""
        step = ProgressMessage(max(0.0, min(100.0, float(percent))), clipped(str(text)) or "analysing")
        with self._changed:
            if self._over:
                return
            self._newest = step
            if time.monotonic() - self._sent_at >= SEND_EVERY_S:
                self._send_newest()
            if self._newest is not None:
                self._send_later()

    def _send_newest(self) -> None:
        if self._newest is not None and _has_room(self._pipe):
            self._pipe.send(self._newest)
            self._newest = None
            self._sent_at = time.monotonic()

    def _send_later(self) -> None:
        if self._late is None:
            self._late = threading.Thread(target=self._run, name="progress", daemon=True)
            self._late.start()
        self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while not self._over:
                # Sleeps until there is something to send.
                self._changed.wait(SEND_EVERY_S if self._newest is not None else None)
                if not self._over and time.monotonic() - self._sent_at >= SEND_EVERY_S:
                    self._send_newest()

    def another_token(self, refused: str) -> str | None:
        """Ask the worker for a token in place of a refused one; returns None after the end.

        A question after the end would receive the next task as its answer.
        """
        with self._asking:
            with self._changed:
                if self._over:
                    return None
                self._pipe.send(TokenRefused(refused))
            answer: str | None = self._pipe.recv()
            return answer

    def end(self, message: bytes) -> None:
        """Send the pickled end of the analysis, after the last progress and the answer to a pending question."""
        with self._asking, self._changed:
            self._over = True
            self._changed.notify()
            if self._newest is not None:
                self._pipe.send(self._newest)
            self._pipe.send_bytes(message)


class ChildSecrets:
    """The secrets of a child's job, which its worker provides. See `slidehook.systems.Secrets`."""

    def __init__(self, token: str, reporter: ChildReporter) -> None:
        self._token = token
        self._reporter = reporter
        self._lock = threading.Lock()

    def secret(self) -> str:
        """Return the newest known token."""
        return self._token

    def instead_of(self, refused: str) -> str | None:
        """Ask for another token, unless another thread has received one meanwhile."""
        with self._lock:
            if self._token == refused and (other := self._reporter.another_token(refused)) is not None:
                self._token = other
            return None if self._token == refused else self._token


def _has_room(pipe: Line) -> bool:
    poll = select.poll()  # not `select`, which is limited to the first 1024 files
    poll.register(pipe, select.POLLOUT)
    return bool(poll.poll(0))
