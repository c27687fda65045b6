"""HTTP answers with a deadline and a size limit, even when the server sends them byte by byte.

A timeout in requests applies to a single read, so it never ends a call to a slow server. Here, every read of an
answer goes through a reader with a deadline.

An answer's body is returned as sent: nothing is decompressed, and bytes after the announced length are an error.
"""

from __future__ import annotations

import io
import math
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import TYPE_CHECKING, Any

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.response import BaseHTTPResponse

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


@dataclass(frozen=True)
class _Limit:
    deadline: float = math.inf
    head_only: bool = False
    max_bytes: float = math.inf


SURPLUS_WAIT_S = 0.01
"""How long to wait for bytes after the announced end of a streamed answer, in seconds."""
_UNLIMITED = _Limit()
_limit: ContextVar[_Limit] = ContextVar("_limit", default=_UNLIMITED)


@contextmanager
def call_limits(deadline: float, *, head_only: bool = False, max_bytes: float = math.inf) -> Iterator[None]:
    """Limit the calls made in this block through a `DeadlineAdapter`: they time out at `deadline` (monotonic clock).

    An answer longer than `max_bytes`, headers included, raises ResponseTooLarge. With `head_only` both limits apply
    to the headers alone: the body may take any time and have any size.
    """
    before = _limit.set(_Limit(deadline, head_only, max_bytes))
    try:
        yield
    finally:
        _limit.reset(before)


class ContentLengthExceeded(HTTPException):
    """The server sent more bytes than its Content-Length states."""


class ResponseTooLarge(HTTPException):
    """The server sent more bytes than the call's limit."""


class _Reader(io.RawIOBase):
    """Reads from a socket with the socket's own timeout, or with the time left until `deadline` if less.

    Raises ResponseTooLarge after `max_bytes`.
    """

    def __init__(self, sock: socket.socket, received: io.RawIOBase, deadline: float, max_bytes: float) -> None:
        self._sock = sock
        self._received = received
        self._timeout_s = sock.gettimeout()
        self._deadline = deadline
        self._left_bytes = max_bytes
        self._ended = False

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._received.fileno()

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        if self._ended:
            return 0
        if self._deadline < math.inf:
            left_s = self._deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left_s if self._timeout_s is None else min(self._timeout_s, left_s))
        count = self._received.readinto(buffer)
        self._left_bytes -= count or 0
        if self._left_bytes < 0:
            raise ResponseTooLarge("the answer exceeds its size limit")
        return count

    def lift_limits(self) -> None:
        """From now on, apply only the socket's own timeout and no size limit."""
        self._left_bytes = math.inf
        if self._deadline < math.inf:
            self._deadline = math.inf
            self._sock.settimeout(self._timeout_s)

    def read_pending(self, within_s: float) -> bytes:
        """Return up to 64 bytes that arrive within `within_s` seconds; later reads return nothing."""
        self._ended, buffer, timeout_s = True, bytearray(64), self._sock.gettimeout()
        try:
            self._sock.settimeout(within_s)
            return bytes(buffer[: self._received.readinto(buffer) or 0])
        except OSError:  # a TimeoutError, or its counterpart in TLS
            return b""
        finally:
            with suppress(OSError):
                self._sock.settimeout(timeout_s)

    def close(self) -> None:
        self._received.close()
        super().close()


class _Body(io.BufferedReader):
    """The bytes of one answer. `surplus` holds the unread bytes at its closing, at most 64 from each buffer."""

    def __init__(self, reader: _Reader, surplus_wait_s: float) -> None:
        super().__init__(reader)
        self._reader = reader
        self._surplus_wait_s = surplus_wait_s
        self.surplus = b""

    def readline(self, size: int | None = -1) -> bytes:
        """Read a line; raises IncompleteRead when the connection ends within it: `0` may be the start of `00ff`."""
        line = super().readline(size)
        if line and not line.endswith(b"\n") and len(line) != size:
            raise IncompleteRead(line)
        return line

    def close(self) -> None:
        if not self.closed:
            pending = self._reader.read_pending(self._surplus_wait_s)
            self.surplus = self.peek(1)[:64] + pending
        super().close()


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._limit = _limit.get()
        self._reader = _Reader(sock, self.fp.detach(), self._limit.deadline, self._limit.max_bytes)
        self._body = _Body(self._reader, SURPLUS_WAIT_S if self._limit.head_only else 0.0)
        self.fp = self._body

    def begin(self) -> None:
        """Read the status and the headers."""
        super().begin()
        if self._limit.head_only:
            self._reader.lift_limits()

    def read(self, amt: int | None = None) -> bytes:
        """Read up to `amt` bytes, or all; raises ContentLengthExceeded when more bytes arrive than announced."""
        return self._checked(super().read(amt))

    def read1(self, n: int = -1) -> bytes:
        """Read up to `n` available bytes; raises ContentLengthExceeded as `read` does."""
        return self._checked(super().read1(n))

    def _checked(self, data: bytes) -> bytes:
        if self.length == 0 and not self.chunked and self.status not in _WITHOUT_BODY:
            self.close()
            # Some old servers send a line break after the body.
            if self._body.surplus.strip(b"\r\n"):
                raise ContentLengthExceeded("more bytes came than announced")
        return data


class _Connection(HTTPConnection):
    response_class = _Response


class _TlsConnection(HTTPSConnection):
    response_class = _Response


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_WITHOUT_BODY = frozenset({204, 304})
_POOLS = {"http": _Pool, "https": _TlsPool}


class DeadlineAdapter(HTTPAdapter):
    """The transport adapter of a session; `call_limits` limits its calls. No answer is decompressed."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Create the pool manager with connections that apply the limits."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def build_response(self, req: PreparedRequest, resp: BaseHTTPResponse) -> Response:
        """Build the answer; its body is read as sent, whatever its Content-Encoding."""
        response = super().build_response(req, resp)
        # A decompressor accepts a truncated stream as complete, and expands a few bytes to gigabytes.
        resp.headers.discard("Content-Encoding")
        return response

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Create the pool manager of a proxy with connections that apply the limits."""
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):  # SOCKS needs its own connection classes
            manager.pool_classes_by_scheme = _POOLS
        return manager
