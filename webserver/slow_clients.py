"""A gunicorn worker with threads in which slow clients occupy no thread.

gthread assigns a thread to a connection at its first byte. So a few dozen clients that send half a request, or do not
read their answer, occupy all threads. Here the loop that accepts connections also reads requests and writes
unsent parts of answers: a thread gets a request only when it is complete, and never waits for its client.
"""

from __future__ import annotations

import errno
import json
import selectors
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from gunicorn import http, sock
from gunicorn.workers.gthread import TConn, ThreadWorker

from slidehook.dpat.iaapi.versions import API_VERSION, SOFTWARE_HEADER, VERSION_HEADER
from slidehook.results.limits import MIB, MOST_BODY_BYTES, PLAIN_BODY_BYTES
from slidehook.version import SOFTWARE_VERSION
from webserver.buffered_connection import BufferedSocket
from webserver.incoming_request import IncomingRequest

HEAD_S = 15.0
"""The time limit of a request's head from its first byte, in seconds."""
REQUEST_S = 60.0
"""The time limit of a complete request, in seconds."""
ANSWER_S = 60.0
"""The time limit for a client to read its answer, in seconds."""
LINGER_S = 5.0
"""The time limit for a client to close the connection after its last answer, in seconds; its data is discarded."""
STOP_S = 2.0
"""How long connections without a complete request stay open when the process ends, in seconds."""
CHECK_S = 0.5
"""The interval of the check for expired connections, in seconds."""
MAX_HELD_BYTES = 256 * MIB
"""The most memory for incomplete requests; above it, large ones are refused."""
HEALTH_THREADS = 2
"""Threads only for `/healthz`, so that it answers even while all others wait for DPAT."""
_RESOURCE_ERRNOS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_NO_CONNECTION_ERRNOS = {errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK}


class Conn(TConn):  # type: ignore[misc] # gunicorn is not typed
    """A connection and its incoming request."""

    sock: BufferedSocket
    parser: Any

    def __init__(self, cfg: Any, real: socket.socket, client: Any, server: Any) -> None:
        super().__init__(cfg, BufferedSocket(real), client, server)
        self.data_ready = True
        self.request = IncomingRequest(MOST_BODY_BYTES)
        self.started_at: float | None = None
        """The time of the request's first byte."""
        self.keep_alive = False
        """Whether another request may follow the answer."""

    def init(self) -> None:
        """Create the parser once."""
        if self.parser is None:
            self.parser = http.get_parser(self.cfg, self.sock, self.client)
        self.initialized = True

    def expect_next(self) -> None:
        """Prepare for the next request, parts of which may have arrived already."""
        rest = b"" if self.parser is None else self.parser.unreader.take_buffered()
        self.request = IncomingRequest(MOST_BODY_BYTES, rest + bytes(self.sock.inbox))
        self.sock.inbox.clear()
        self.started_at = time.monotonic() if self.request.data else None


class BufferingWorker(ThreadWorker):  # type: ignore[misc] # gunicorn is not typed
    """The worker. A connection is either handled by a thread, or is in `_waiting` with its deadline."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: dict[Conn, float] = {}
        self._next_check = 0.0
        self._close_all_at: float | None = None
        self._health = ThreadPoolExecutor(HEALTH_THREADS, "health")

    # --- receiving requests

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection."""
        try:
            real, client = listener.accept()
            real.setblocking(False)
            # Not the listener's own address, which may be 0.0.0.0.
            server = real.getsockname()
            if self.cfg.is_ssl:
                real = sock.ssl_wrap_socket(real, self.cfg)
        except OSError as error:
            if error.errno in _RESOURCE_ERRNOS:
                self._close_oldest()
            elif error.errno not in _NO_CONNECTION_ERRNOS:
                self.log.warning("a connection could not be accepted: %s", error)
            return
        self.nr_conns += 1
        if self.nr_conns >= self.worker_connections:
            self._close_oldest()
        self._receive(Conn(self.cfg, real, client, server))

    def _receive(self, conn: Conn) -> None:
        """Wait for a request or its remaining part, or pass it on if it is complete."""
        if conn.request.complete:
            self.enqueue_req(conn)
        else:
            self._wait(conn, selectors.EVENT_READ, self._on_request, self._deadline(conn))

    def _deadline(self, conn: Conn) -> float:
        """Return the deadline of the current or next request."""
        if conn.started_at is None:
            return time.monotonic() + float(self.cfg.keepalive)
        return conn.started_at + (REQUEST_S if conn.request.has_head else HEAD_S)

    def _on_request(self, conn: Conn) -> None:
        data = conn.sock.receive()
        if data is None:
            return
        self._stop_waiting(conn)
        request = conn.request
        if not data and not request.data:
            self._close(conn)
            return
        had_head = request.has_head
        conn.started_at = conn.started_at or time.monotonic()
        request.feed(data)
        if not data:
            request.stop_waiting()
        if request.wants_continue and request.has_head and not had_head and not request.complete:
            conn.sock.send_best_effort(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.head_is_too_large:
            self._refuse(conn, "431 Request Header Fields Too Large", "The request's head is too large.")
        elif request.body_is_too_large:
            self._refuse(conn, "413 Content Too Large", f"The body is larger than {MOST_BODY_BYTES // MIB} MiB.")
        elif len(request.data) > PLAIN_BODY_BYTES and self._buffered_bytes() > MAX_HELD_BYTES:
            self._refuse(conn, "503 Service Unavailable", "Too many large requests are arriving at the same time.")
        else:
            self._receive(conn)

    def _buffered_bytes(self) -> int:
        return sum(len(each.request.data) for each in self._waiting)

    # --- sending answers

    def enqueue_req(self, conn: Conn) -> None:
        """Pass a received request to a thread."""
        conn.sock.inbox, conn.request.data = conn.request.data, bytearray()
        pool = self._health if IncomingRequest(0, bytes(conn.sock.inbox[:64])).is_health_check else self.tpool
        done = pool.submit(self.handle, conn)
        done.add_done_callback(lambda future: self.method_queue.defer(self.finish_request, conn, future))

    def handle_request(self, req: Any, conn: Conn) -> bool:
        """Serve a request in a thread; returns False if the connection must be closed after it."""
        if conn.request.truncated:
            req.force_close()
        return bool(super().handle_request(req, conn))

    def finish_request(self, conn: Conn, fs: Future[Any]) -> None:
        """Send the rest of the answer; the thread is already free."""
        answered = not fs.cancelled() and fs.exception() is None and bool(fs.result())
        conn.keep_alive = answered and not conn.sock.must_close and not conn.request.truncated
        self._send(conn, time.monotonic() + ANSWER_S)

    def _send(self, conn: Conn, until: float) -> None:
        try:
            if not conn.sock.flush():
                self._wait(conn, selectors.EVENT_WRITE, partial(self._on_writable, until), until)
            elif conn.keep_alive:
                conn.expect_next()
                self._receive(conn)
            else:
                # If closed at once with unread data, the kernel resets the connection and drops the answer.
                conn.sock.end_writing()
                conn.request = IncomingRequest(0)
                self._wait(conn, selectors.EVENT_READ, self._on_leftover, time.monotonic() + LINGER_S)
        except OSError:
            self._close(conn)

    def _on_writable(self, until: float, conn: Conn) -> None:
        self._stop_waiting(conn)
        self._send(conn, until)

    def _on_leftover(self, conn: Conn) -> None:
        if conn.sock.receive() == b"":
            self._stop_waiting(conn)
            self._close(conn)

    def _refuse(self, conn: Conn, status: str, sentence: str) -> None:
        """Answer a request with an error before it is complete."""
        body = json.dumps({"error": sentence}).encode()
        fields = {
            "Content-Type": "application/json",
            "Content-Length": len(body),
            "Connection": "close",
            VERSION_HEADER: API_VERSION,
            SOFTWARE_HEADER: SOFTWARE_VERSION,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        conn.sock.outbox += f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body
        conn.keep_alive = False
        self._send(conn, time.monotonic() + LINGER_S)

    # --- waiting

    def _wait(self, conn: Conn, event: int, then: Callable[[Conn], None], until: float) -> None:
        self._waiting[conn] = until
        self.poller.register(conn.sock, event, lambda _: self._on_event(conn, then))

    def _on_event(self, conn: Conn, then: Callable[[Conn], None]) -> None:
        if conn not in self._waiting:  # it was closed after the poller's event
            return
        try:
            then(conn)
        except OSError:
            self._stop_waiting(conn)
            self._close(conn)

    def _stop_waiting(self, conn: Conn) -> None:
        if self._waiting.pop(conn, None) is not None:
            self.poller.unregister(conn.sock)

    def _close(self, conn: Conn) -> None:
        self.nr_conns -= 1
        conn.sock.end()

    def _close_oldest(self) -> None:
        """Close the connection that has waited longest."""
        if (oldest := next(iter(self._waiting), None)) is not None:
            self._stop_waiting(oldest)
            self._close(oldest)

    def murder_pending(self) -> None:
        """Close expired connections; gunicorn's loop calls this at least once a second."""
        now = time.monotonic()
        if now < self._next_check:
            return
        self._next_check = now + CHECK_S
        if not self.alive and self._close_all_at is None:
            self._close_all_at = now + STOP_S
        for conn, until in list(self._waiting.items()):
            if now > until or (self._close_all_at is not None and now > self._close_all_at):
                self._stop_waiting(conn)
                if conn.request.data and not conn.sock.outbox:
                    self._refuse(conn, "408 Request Timeout", "The request did not arrive in time.")
                else:
                    self._close(conn)
