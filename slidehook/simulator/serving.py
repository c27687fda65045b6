"""An HTTP/1.1 server with connections that stay open, and that all end when it is stopped."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

BACKLOG = 1024
POLL_S = 0.02


class Handler(WSGIRequestHandler):
    """Answers one connection's calls, one after the other.

    werkzeug's own `run_wsgi` closes the connection after each answer and waits 10 ms for leftovers of the
    request; this one does neither, as the app reads each request's body to its end.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def run_wsgi(self) -> None:
        """Answer the call that was just read; a ConnectionError from the app closes the connection."""
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if exc_info and not started:
                raise exc_info[1]
            started[:] = [status, headers]
            return self.wfile.write

        chunks = self.server.app(self.make_environ(), start_response)
        try:
            head_due = True
            for chunk in chunks:
                head = self._head(*started) if head_due else b""
                head_due = False
                self.wfile.write(head + chunk)
            if head_due:
                self.wfile.write(self._head(*started))
        except ConnectionError:
            self.close_connection = True
        finally:
            if hasattr(chunks, "close"):
                chunks.close()

    def _head(self, status: str, headers: list[tuple[str, str]]) -> bytes:
        code, _, reason = status.partition(" ")
        self.log_request(code)
        lines = [f"{self.protocol_version} {code} {reason}", f"Date: {self.date_time_string()}"]
        lines += [f"{name}: {value}" for name, value in headers]
        has_length = any(name.lower() == "content-length" for name, _ in headers)
        if not has_length and self.command != "HEAD" and code not in ("204", "304"):
            self.close_connection = True
        if self.close_connection:
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say on stderr what was asked for, when the server is to be verbose."""
        if self.server.verbose:
            super().log_request(code, size)


class Server(ThreadedWSGIServer):
    """Serves a WSGI app, a thread for each connection; raises OSError when the port is taken."""

    def __init__(
        self, host: str, port: int, app: WSGIApplication, *, verbose: bool = False, tls: ssl.SSLContext | None = None
    ) -> None:
        self.verbose = verbose
        self._tls = tls
        self._closed = threading.Condition()
        self._open: set[Any] = set()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Bound here: werkzeug itself would end the process when the port is taken.
        with socket.create_server((host, port), family=family, backlog=BACKLOG) as bound:
            super().__init__(host, port, app, Handler, fd=bound.fileno())
        self._thread = threading.Thread(target=self.serve_forever, args=(POLL_S,), name="simulator", daemon=True)

    def start(self) -> None:
        """Begin to serve, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, close every connection, and wait (5 s at most) until their threads have ended."""
        self.shutdown()
        self._thread.join()
        with self._closed:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._closed.wait_for(lambda: not self._open, timeout=5)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, then serve it in a thread."""
        with self._closed:
            self._open.add(request)
        super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection, in its thread; with TLS, from the handshake on."""
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        try:
            wrapped = self._tls.wrap_socket(request, server_side=True)
        except OSError:
            return  # a caller who does not trust the certificate hangs up
        with self._closed:
            self._open.add(wrapped)
        try:
            super().finish_request(wrapped, client_address)
        finally:
            super().shutdown_request(wrapped)
            with self._closed:
                self._open.discard(wrapped)

    def shutdown_request(self, request: Any) -> None:
        """Close the connection and forget it."""
        super().shutdown_request(request)
        with self._closed:
            self._open.discard(request)
            self._closed.notify_all()
