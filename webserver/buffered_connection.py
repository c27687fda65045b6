"""A connection whose reads and writes keep no thread waiting: gunicorn's thread works on bytes in memory."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

AT_ONCE_BYTES = 256 * 1024
_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class BufferedSocket:
    """Stands for a socket where gunicorn wants one.

    The methods of a socket read from `inbox` and write what can't be sent at once into `outbox`; the others are for
    the loop that waits for the socket itself. Of an answer that its client does not read, all is in memory.
    """

    def __init__(self, real: socket.socket) -> None:
        real.setblocking(False)
        self._real = real
        self.inbox = bytearray()
        self.outbox = bytearray()
        self.must_end = False
        """Whether the connection can't be used for another request."""

    def fileno(self) -> int:
        """Give the file descriptor."""
        return self._real.fileno()

    # --- what gunicorn calls

    def recv(self, size: int) -> bytes:
        """Give what has come; nothing, as at the end of the stream, when a request is shorter than it says."""
        data = bytes(self.inbox[:size])
        del self.inbox[:size]
        if not data:
            self.must_end = True
        return data

    def send(self, data: bytes) -> int:
        """Drop a "100 Continue": who waited for it has got it."""
        return len(data)

    def sendall(self, data: ReadableBuffer) -> None:
        """Send what can be sent at once, and keep the rest."""
        content = memoryview(data)
        if not self.outbox:
            with contextlib.suppress(*_NOT_NOW):
                content = content[self._real.send(content) :]
        self.outbox += content

    def gettimeout(self) -> None:
        """Say that nothing times out."""

    def settimeout(self, _: float | None) -> None:
        """Do nothing: no call waits."""

    def setblocking(self, _: bool) -> None:
        """Do nothing: no call waits."""

    def shutdown(self, _: int) -> None:
        """Have the connection end when all is sent."""
        self.must_end = True

    def close(self) -> None:
        """Have the connection end when all is sent."""
        self.must_end = True

    # --- what the loop calls

    def receive(self) -> bytes | None:
        """Give what has come; None when nothing has, b"" when nothing can. Raises OSError."""
        try:
            data = self._real.recv(AT_ONCE_BYTES)
            while isinstance(self._real, ssl.SSLSocket) and (more := self._real.pending()):
                data += self._real.recv(more)
        except _NOT_NOW:
            return None
        return data

    def flush(self) -> bool:
        """Send what there is room for; True when all is sent. Raises OSError."""
        with contextlib.suppress(*_NOT_NOW):
            while self.outbox:
                del self.outbox[: self._real.send(self.outbox[:AT_ONCE_BYTES])]
        return not self.outbox

    def hint(self, data: bytes) -> None:
        """Send a few bytes that may also get lost."""
        with contextlib.suppress(OSError):
            self._real.send(data)

    def end_writing(self) -> None:
        """Tell the client that nothing more comes. Raises OSError."""
        self._real.shutdown(socket.SHUT_WR)

    def end(self) -> None:
        """Close the socket."""
        with contextlib.suppress(OSError):
            self._real.close()
