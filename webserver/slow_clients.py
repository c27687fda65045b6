"""gunicorn's worker with threads, which slow clients cost no thread.

gthread gives a thread to a connection that has sent its first byte; so a few dozen clients that send half a request,
or do not read their answer, leave no thread for others. Here the loop that accepts connections also reads requests
and writes what is left of answers: a thread gets a request when all of it has come, and never waits for its client.
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

from slidehook.dpat.iaapi.versions import API_VERSION, SOFTWARE_HEADER, SOFTWARE_VERSION, VERSION_HEADER
from slidehook.results.limits import MIB, MOST_BODY_BYTES, PLAIN_BODY_BYTES
from webserver.arrival import Arrival
from webserver.buffered_connection import BufferedSocket

HEAD_S = 15.0
"""How long a request's head may take from its first byte on, in seconds."""
REQUEST_S = 60.0
"""How long a whole request may take, in seconds."""
ANSWER_S = 60.0
"""How long a client may take to read its answer, in seconds."""
LINGER_S = 5.0
"""How long a client that has got its last answer may take to hang up, in seconds; what it sends is not read."""
STOP_S = 2.0
"""How long connections without a whole request stay open when the process ends, in seconds."""
LOOK_S = 0.5
"""How often it is looked whose time is over, in seconds."""
MOST_HELD_BYTES = 256 * MIB
"""How much memory the requests that are coming in may take before large ones are refused."""
HEALTH_THREADS = 2
"""Threads for `/healthz` alone: it answers also while DPAT keeps all others waiting."""
_PASSING = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_NOBODY = {errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK}


class Conn(TConn):  # type: ignore[misc] # gunicorn is not typed
    """A connection, and the request that is coming in over it."""

    sock: BufferedSocket
    parser: Any

    def __init__(self, cfg: Any, real: socket.socket, client: Any, server: Any) -> None:
        super().__init__(cfg, BufferedSocket(real), client, server)
        self.data_ready = True
        self.arrival = Arrival(MOST_BODY_BYTES)
        self.began_at: float | None = None
        """When the first byte of the request came."""
        self.goes_on = False
        """Whether another request may follow when the answer is sent."""

    def init(self) -> None:
        """Make the parser of its requests, once."""
        if self.parser is None:
            self.parser = http.get_parser(self.cfg, self.sock, self.client)
        self.initialized = True

    def expect_next(self) -> None:
        """Make ready for another request, of which some may have come already."""
        rest = b"" if self.parser is None else self.parser.unreader.take_buffered()
        self.arrival = Arrival(MOST_BODY_BYTES, rest + bytes(self.sock.inbox))
        self.sock.inbox.clear()
        self.began_at = time.monotonic() if self.arrival.data else None


class PatientWorker(ThreadWorker):  # type: ignore[misc] # gunicorn is not typed
    """The worker. A connection is with its threads, or in `_waiting` with the time when its patience ends."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: dict[Conn, float] = {}
        self._look_at = 0.0
        self._stop_at: float | None = None
        self._health = ThreadPoolExecutor(HEALTH_THREADS, "health")

    # --- a request comes in

    def accept(self, listener: socket.socket) -> None:
        """Take a new connection."""
        try:
            real, client = listener.accept()
            real.setblocking(False)
            # Not the listener's own name: that may be 0.0.0.0.
            server = real.getsockname()
            if self.cfg.is_ssl:
                real = sock.ssl_wrap_socket(real, self.cfg)
        except OSError as error:
            if error.errno in _PASSING:
                self._close_oldest()
            elif error.errno not in _NOBODY:
                self.log.warning("a connection could not be taken: %s", error)
            return
        self.nr_conns += 1
        if self.nr_conns >= self.worker_connections:
            self._close_oldest()
        self._receive(Conn(self.cfg, real, client, server))

    def _receive(self, conn: Conn) -> None:
        """Wait for a request, or for the rest of it."""
        if conn.arrival.whole:
            self.enqueue_req(conn)
        else:
            self._wait(conn, selectors.EVENT_READ, self._on_request, self._patience(conn))

    def _patience(self, conn: Conn) -> float:
        """Say until when a request that has not come may come."""
        if conn.began_at is None:
            return time.monotonic() + float(self.cfg.keepalive)
        return conn.began_at + (REQUEST_S if conn.arrival.head_is_there else HEAD_S)

    def _on_request(self, conn: Conn) -> None:
        data = conn.sock.receive()
        if data is None:
            return
        self._stop_waiting(conn)
        arrival = conn.arrival
        if not data and not arrival.data:
            self._close(conn)
            return
        had_head = arrival.head_is_there
        conn.began_at = conn.began_at or time.monotonic()
        arrival.add(data)
        if not data:
            arrival.give_up()
        if arrival.wants_continue and arrival.head_is_there and not had_head and not arrival.whole:
            conn.sock.hint(b"HTTP/1.1 100 Continue\r\n\r\n")
        if arrival.head_is_too_large:
            self._refuse(conn, "431 Request Header Fields Too Large", "The request's head is too large.")
        elif arrival.body_is_too_large:
            self._refuse(conn, "413 Content Too Large", f"The body is larger than {MOST_BODY_BYTES // MIB} MiB.")
        elif len(arrival.data) > PLAIN_BODY_BYTES and self._held_bytes() > MOST_HELD_BYTES:
            self._refuse(conn, "503 Service Unavailable", "Too many large requests are coming in at the same time.")
        else:
            self._receive(conn)

    def _held_bytes(self) -> int:
        return sum(len(each.arrival.data) for each in self._waiting)

    # --- it is answered

    def enqueue_req(self, conn: Conn) -> None:
        """Have a thread answer a request that is here."""
        conn.sock.inbox, conn.arrival.data = conn.arrival.data, bytearray()
        pool = self._health if Arrival(0, bytes(conn.sock.inbox[:64])).asks_for_health else self.tpool
        done = pool.submit(self.handle, conn)
        done.add_done_callback(lambda future: self.method_queue.defer(self.finish_request, conn, future))

    def handle_request(self, req: Any, conn: Conn) -> bool:
        """Answer a request, in a thread; False when the connection ends with it."""
        if conn.arrival.cut:
            req.force_close()
        return bool(super().handle_request(req, conn))

    def finish_request(self, conn: Conn, fs: Future[Any]) -> None:
        """Send what is left of the answer; the thread is free."""
        answered = not fs.cancelled() and fs.exception() is None and bool(fs.result())
        conn.goes_on = answered and not conn.sock.must_end and not conn.arrival.cut
        self._send(conn, time.monotonic() + ANSWER_S)

    def _send(self, conn: Conn, until: float) -> None:
        try:
            if not conn.sock.flush():
                self._wait(conn, selectors.EVENT_WRITE, partial(self._on_room, until), until)
            elif conn.goes_on:
                conn.expect_next()
                self._receive(conn)
            else:
                # Closed at once, what was not read would make the kernel take back what was sent.
                conn.sock.end_writing()
                conn.arrival = Arrival(0)
                self._wait(conn, selectors.EVENT_READ, self._on_rest, time.monotonic() + LINGER_S)
        except OSError:
            self._close(conn)

    def _on_room(self, until: float, conn: Conn) -> None:
        self._stop_waiting(conn)
        self._send(conn, until)

    def _on_rest(self, conn: Conn) -> None:
        if conn.sock.receive() == b"":
            self._stop_waiting(conn)
            self._close(conn)

    def _refuse(self, conn: Conn, status: str, sentence: str) -> None:
        """Answer a request that is not read to its end."""
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
        conn.goes_on = False
        self._send(conn, time.monotonic() + LINGER_S)

    # --- waiting

    def _wait(self, conn: Conn, event: int, then: Callable[[Conn], None], until: float) -> None:
        self._waiting[conn] = until
        self.poller.register(conn.sock, event, lambda _: self._on_event(conn, then))

    def _on_event(self, conn: Conn, then: Callable[[Conn], None]) -> None:
        if conn not in self._waiting:  # it was closed since the poller saw it
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
        """Make room: the connection that has waited longest goes."""
        if (oldest := next(iter(self._waiting), None)) is not None:
            self._stop_waiting(oldest)
            self._close(oldest)

    def murder_pending(self) -> None:
        """End the connections whose time is over; gunicorn's loop calls this at least once a second."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        if not self.alive and self._stop_at is None:
            self._stop_at = now + STOP_S
        for conn, until in list(self._waiting.items()):
            if now > until or (self._stop_at is not None and now > self._stop_at):
                self._stop_waiting(conn)
                if conn.arrival.data and not conn.sock.outbox:
                    self._refuse(conn, "408 Request Timeout", "The request did not come within its time.")
                else:
                    self._close(conn)
