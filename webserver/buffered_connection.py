"""A connection whose reads and writes never block: gunicorn's threads work on bytes in memory."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

AT_ONCE_BYTES = 256 * 1024
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class BufferedSocket:
    """Replaces a socket for gunicorn.

    The methods of a socket read from `inbox`, and write into `outbox` whatever can't be sent at once. The other
    methods are for the loop that waits for the real socket. An answer that its client does not read stays in memory.
    """

    def __init__(self, real: socket.socket) -> None:
        real.setblocking(False)
        self._real = real
        self.inbox = bytearray()
        self.outbox = bytearray()
        self.must_close = False
        """Whether the connection can't be used for another request."""

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._real.fileno()

    # --- called by gunicorn

    def recv(self, size: int) -> bytes:
        """Return received bytes; b"" (the end of the stream) when a request is shorter than its header states."""
        data = bytes(self.inbox[:size])
        del self.inbox[:size]
        if not data:
            self.must_close = True
        return data

    def send(self, data: bytes) -> int:
        """Drop a "100 Continue", which has already been sent."""
        return len(data)

    def sendall(self, data: ReadableBuffer) -> None:
        """Send as much as possible at once, and buffer the rest."""
        content = memoryview(data)
        if not self.outbox:
            with contextlib.suppress(*_WOULD_BLOCK):
                content = content[self._real.send(content) :]
        self.outbox += content

    def gettimeout(self) -> None:
        """Return None: nothing times out."""

    def settimeout(self, _: float | None) -> None:
        """Do nothing: no call blocks."""

    def setblocking(self, _: bool) -> None:
        """Do nothing: no call blocks."""

    def shutdown(self, _: int) -> None:
        """Close the connection once everything is sent."""
        self.must_close = True

    def close(self) -> None:
        """Close the connection once everything is sent."""
        self.must_close = True

    # --- called by the loop

    def receive(self) -> bytes | None:
        """Return received bytes; None if there are none yet, b"" at the end of the stream. Raises OSError."""
        try:
            data = self._real.recv(AT_ONCE_BYTES)
            while isinstance(self._real, ssl.SSLSocket) and (more := self._real.pending()):
                data += self._real.recv(more)
        except _WOULD_BLOCK:
            return None
        return data

    def flush(self) -> bool:
        """Send as much as possible; returns True when everything is sent. Raises OSError."""
        with contextlib.suppress(*_WOULD_BLOCK):
            while self.outbox:
                del self.outbox[: self._real.send(self.outbox[:AT_ONCE_BYTES])]
        return not self.outbox

    def send_best_effort(self, data: bytes) -> None:
        """Send a few bytes whose loss does no harm."""
        with contextlib.suppress(OSError):
            self._real.send(data)

    def end_writing(self) -> None:
        """Signal the end of the stream to the client. Raises OSError."""
        self._real.shutdown(socket.SHUT_WR)

    def end(self) -> None:
        """Close the socket."""
        with contextlib.suppress(OSError):
            self._real.close()
