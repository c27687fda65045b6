"""What a child says to its worker while it analyses one slide: steps, a token that DPAT refuses, and how it ended."""

from __future__ import annotations

import select
import threading
import time
from dataclasses import dataclass, field

from slidehook.results.sanitize import clipped
from slidehook.running.message_pipe import Line

TELL_EVERY_S = 0.1
"""The shortest time between two steps that are sent, in seconds."""


@dataclass(frozen=True)
class ProgressMessage:
    """How far an analysis is: `percent` 0…100, and a few words."""

    percent: float
    text: str


@dataclass(frozen=True)
class TokenRefused:
    """DPAT refuses the token: the worker is to answer with another one, or None."""

    token: str = field(repr=False)


class ChildReporter:
    """Speaks for one analysis; an app's threads may do so too, also when it has ended.

    Telling a step costs next to nothing, however often an app does it: now and then the newest is sent, and nobody
    waits until there is room for it in the pipe.
    """

    def __init__(self, pipe: Line) -> None:
        self._pipe = pipe
        self._changed = threading.Condition()
        self._asking = threading.Lock()
        """Held until a question is answered: not `_changed`, since steps are told meanwhile."""
        self._newest: ProgressMessage | None = None
        self._sent_at = float("-inf")
        self._late: threading.Thread | None = None
        self._over = False

    def progress(self, percent: float, text: str = "") -> None:
        """Send a step now, or the newest of several a little later; after the end none."""
        step = ProgressMessage(max(0.0, min(100.0, float(percent))), clipped(str(text)) or "analysing")
        with self._changed:
            if self._over:
                return
            self._newest = step
            if time.monotonic() - self._sent_at >= TELL_EVERY_S:
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
                # Without anything to send it sleeps until there is.
                self._changed.wait(TELL_EVERY_S if self._newest is not None else None)
                if not self._over and time.monotonic() - self._sent_at >= TELL_EVERY_S:
                    self._send_newest()

    def another_token(self, refused: str) -> str | None:
        """Ask the worker for another token than the one that DPAT refuses; after the end there is none.

        The answer to a question that came later would be the next task, or be taken for it.
        """
        with self._asking:
            with self._changed:
                if self._over:
                    return None
                self._pipe.send(TokenRefused(refused))
            answer: str | None = self._pipe.recv()
            return answer

    def end(self, message: bytes) -> None:
        """Send how the analysis ended, pickled, behind the last step, and behind the answer to a question."""
        with self._asking, self._changed:
            self._over = True
            self._changed.notify()
            if self._newest is not None:
                self._pipe.send(self._newest)
            self._pipe.send_bytes(message)


class ChildSecrets:
    """The secrets of the job that a child works on, which come from its worker. See `slidehook.systems.Secrets`."""

    def __init__(self, token: str, teller: ChildReporter) -> None:
        self._token = token
        self._teller = teller
        self._lock = threading.Lock()

    def secret(self) -> str:
        """Return the newest known token."""
        return self._token

    def instead_of(self, refused: str) -> str | None:
        """Ask for another token, unless another thread has got one meanwhile."""
        with self._lock:
            if self._token == refused and (other := self._teller.another_token(refused)) is not None:
                self._token = other
            return None if self._token == refused else self._token


def _has_room(pipe: Line) -> bool:
    poll = select.poll()  # not `select`, which knows the first 1024 files only
    poll.register(pipe, select.POLLOUT)
    return bool(poll.poll(0))
