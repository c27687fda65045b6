"""Answers that have to be there by a time and within a size, however steadily a byte of them comes now and then.

The timeouts of requests are for one read each, so a server that drips would never be given up. Here, all that is read
of an answer comes through a reader that knows until when it may take.

An answer's bytes are given as they came: nothing is unpacked, and bytes behind the announced length are an error.
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
    until: float = math.inf
    head_only: bool = False
    most_bytes: float = math.inf


SURPLUS_WAIT_S = 0.01
"""How long bytes behind the announced end of a streamed answer are waited for, in seconds."""
_UNLIMITED = _Limit()
_limit: ContextVar[_Limit] = ContextVar("_limit", default=_UNLIMITED)


@contextmanager
def answered_by(until: float, *, head_only: bool = False, most_bytes: float = math.inf) -> Iterator[None]:
    """Have the calls of this block, made by a `PunctualAdapter`, time out at `until` (of the monotonic clock).

    An answer, its headers included, fails with AnswerTooLong after `most_bytes`. `head_only`: once an answer's
    headers are there, its body may take as long as it comes, and be of any size.
    """
    before = _limit.set(_Limit(until, head_only, most_bytes))
    try:
        yield
    finally:
        _limit.reset(before)


class LengthTooShort(HTTPException):
    """The server sends more bytes than its Content-Length says."""


class AnswerTooLong(HTTPException):
    """The server sends more bytes than are read of any such answer."""


class _Reader(io.RawIOBase):
    """What a socket receives, read with its own timeout, or what is left until `until` where that is less.

    Raises AnswerTooLong after `most_bytes`.
    """

    def __init__(self, sock: socket.socket, received: io.RawIOBase, until: float, most_bytes: float) -> None:
        self._sock = sock
        self._received = received
        self._timeout_s = sock.gettimeout()
        self._until = until
        self._left_bytes = most_bytes
        self._ended = False

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._received.fileno()

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        if self._ended:
            return 0
        if self._until < math.inf:
            left_s = self._until - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left_s if self._timeout_s is None else min(self._timeout_s, left_s))
        count = self._received.readinto(buffer)
        self._left_bytes -= count or 0
        if self._left_bytes < 0:
            raise AnswerTooLong("more bytes came than are read")
        return count

    def take_your_time(self) -> None:
        """Read with the socket's own timeout alone from now on, and any number of bytes."""
        self._left_bytes = math.inf
        if self._until < math.inf:
            self._until = math.inf
            self._sock.settimeout(self._timeout_s)

    def what_came(self, within_s: float) -> bytes:
        """Give what comes within `within_s` seconds, and nothing afterwards."""
        self._ended, buffer, timeout_s = True, bytearray(64), self._sock.gettimeout()
        try:
            self._sock.settimeout(within_s)
            return bytes(buffer[: self._received.readinto(buffer) or 0])
        except OSError:  # a TimeoutError, or what TLS raises in its place
            return b""
        finally:
            with suppress(OSError):
                self._sock.settimeout(timeout_s)

    def close(self) -> None:
        self._received.close()
        super().close()


class _Body(io.BufferedReader):
    """The bytes of one answer. `surplus`: what was left of them when it was closed, at most 64 of them."""

    def __init__(self, reader: _Reader, surplus_wait_s: float) -> None:
        super().__init__(reader)
        self._reader = reader
        self._surplus_wait_s = surplus_wait_s
        self.surplus = b""

    def readline(self, size: int | None = -1) -> bytes:
        """Read a line; raises IncompleteRead when the connection ends in it: `0` may be the beginning of `00ff`."""
        line = super().readline(size)
        if line and not line.endswith(b"\n") and len(line) != size:
            raise IncompleteRead(line)
        return line

    def close(self) -> None:
        if not self.closed:
            behind = self._reader.what_came(self._surplus_wait_s)
            self.surplus = self.peek(1)[:64] + behind
        super().close()


class _Answer(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._limit = _limit.get()
        self._reader = _Reader(sock, self.fp.detach(), self._limit.until, self._limit.most_bytes)
        self._body = _Body(self._reader, SURPLUS_WAIT_S if self._limit.head_only else 0.0)
        self.fp = self._body

    def begin(self) -> None:
        """Read the status and the headers."""
        super().begin()
        if self._limit.head_only:
            self._reader.take_your_time()

    def read(self, amt: int | None = None) -> bytes:
        """Read up to `amt` bytes, or all; raises LengthTooShort when there are more than were announced."""
        return self._checked(super().read(amt))

    def read1(self, n: int = -1) -> bytes:
        """Read up to `n` bytes as they come; raises LengthTooShort as `read` does."""
        return self._checked(super().read1(n))

    def _checked(self, data: bytes) -> bytes:
        if self.length == 0 and not self.chunked and self.status not in _WITHOUT_BODY:
            self.close()
            # A line's end behind the body is a known slip of old servers.
            if self._body.surplus.strip(b"\r\n"):
                raise LengthTooShort("more bytes came than were announced")
        return data


class _Connection(HTTPConnection):
    response_class = _Answer


class _TlsConnection(HTTPSConnection):
    response_class = _Answer


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_WITHOUT_BODY = frozenset({204, 304})
_POOLS = {"http": _Pool, "https": _TlsPool}


class PunctualAdapter(HTTPAdapter):
    """Makes the calls of a session; inside `answered_by` they end in time. No answer is unpacked."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the connections."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def build_response(self, req: PreparedRequest, resp: BaseHTTPResponse) -> Response:
        """Make the answer; its body is read as it came, whatever its Content-Encoding says."""
        response = super().build_response(req, resp)
        # An unpacker takes a stream that was cut for whole, and makes gigabytes of a few bytes.
        resp.headers.discard("Content-Encoding")
        return response

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Make the connections through a proxy."""
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):  # that one has connections of its own
            manager.pool_classes_by_scheme = _POOLS
        return manager
