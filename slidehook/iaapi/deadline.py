"""Answers that have to be there by a time, however steadily a byte of them comes now and then.

The timeouts of requests are for one read each, so a server that drips would never be given up. Here, all that is read
of an answer comes through a reader that knows until when it may take.
"""

from __future__ import annotations

import io
import math
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


@dataclass(frozen=True)
class _Limit:
    until: float = math.inf
    head_only: bool = False


_UNLIMITED = _Limit()
_limit: ContextVar[_Limit] = ContextVar("_limit", default=_UNLIMITED)


@contextmanager
def answered_by(until: float, *, head_only: bool = False) -> Iterator[None]:
    """Have the calls of this block, made by a `PunctualAdapter`, time out at `until` (of the monotonic clock).

    `head_only`: once an answer's headers are there, its body may take as long as it comes.
    """
    before = _limit.set(_Limit(until, head_only))
    try:
        yield
    finally:
        _limit.reset(before)


class _Reader(io.RawIOBase):
    """What a socket receives, read with its own timeout, or what is left until `until` where that is less."""

    def __init__(self, sock: socket.socket, received: io.RawIOBase, until: float) -> None:
        self._sock = sock
        self._received = received
        self._timeout_s = sock.gettimeout()
        self._until = until

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._received.fileno()

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        if self._until < math.inf:
            left_s = self._until - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("timed out")
            self._sock.settimeout(left_s if self._timeout_s is None else min(self._timeout_s, left_s))
        return self._received.readinto(buffer)

    def take_your_time(self) -> None:
        """Read with the socket's own timeout alone from now on."""
        if self._until < math.inf:
            self._until = math.inf
            self._sock.settimeout(self._timeout_s)

    def close(self) -> None:
        self._received.close()
        super().close()


class _Answer(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._limit = _limit.get()
        self._reader = _Reader(sock, self.fp.detach(), self._limit.until)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        """Read the status and the headers."""
        super().begin()
        if self._limit.head_only:
            self._reader.take_your_time()


class _Connection(HTTPConnection):
    response_class = _Answer


class _TlsConnection(HTTPSConnection):
    response_class = _Answer


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}


class PunctualAdapter(HTTPAdapter):
    """Makes the calls of a session; inside `answered_by` they end in time."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the connections."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Make the connections through a proxy."""
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):  # that one has connections of its own
            manager.pool_classes_by_scheme = _POOLS
        return manager
