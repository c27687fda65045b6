"""An HTTP/1.1 server with persistent connections, all of which end when it is stopped."""

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
    """Serves one connection's calls, one after the other.

    werkzeug's own `run_wsgi` closes the connection after each answer and waits 10 ms for unread parts of the
    request. This one does neither, because the app reads each request's body to its end.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def run_wsgi(self) -> None:
        """Serve the call that was just read; a ConnectionError from the app closes the connection."""
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if exc_info and not started:
                raise exc_info[1]
            started[:] = [status, headers]
            return self.wfile.write

        chunks = self.server.app(self.make_environ(), start_response)
        try:
            head_sent = False
            for chunk in chunks:
                head = b"" if head_sent else self._head(*started)
                head_sent = True
                self.wfile.write(head + chunk)
            if not head_sent:
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
        """Log the request to stderr if the server is verbose."""
        if self.server.verbose:
            super().log_request(code, size)


class Server(ThreadedWSGIServer):
    """Serves a WSGI app with one thread per connection; raises OSError when the port is taken."""

    def __init__(
        self, host: str, port: int, app: WSGIApplication, *, verbose: bool = False, tls: ssl.SSLContext | None = None
    ) -> None:
        self.verbose = verbose
        self._tls = tls
        self._closed = threading.Condition()
        self._open: set[Any] = set()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Bound here, because werkzeug would end the process when the port is taken.
        with socket.create_server((host, port), family=family, backlog=BACKLOG) as bound:
            super().__init__(host, port, app, Handler, fd=bound.fileno())
        self._thread = threading.Thread(target=self.serve_forever, args=(POLL_S,), name="simulator", daemon=True)

    def start(self) -> None:
        """Start serving in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening, close every connection, and wait up to 5 s for their threads to end."""
        self.shutdown()
        self._thread.join()
        with self._closed:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._closed.wait_for(lambda: not self._open, timeout=5)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Record the connection, then serve it in a thread."""
        with self._closed:
            self._open.add(request)
        super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in its thread, including any TLS handshake."""
        if self._tls is None:
            super().finish_request(request, client_address)
            return
        try:
            wrapped = self._tls.wrap_socket(request, server_side=True)
        except OSError:
            return  # the client rejected the certificate
        with self._closed:
            self._open.add(wrapped)
        try:
            super().finish_request(wrapped, client_address)
        finally:
            super().shutdown_request(wrapped)
            with self._closed:
                self._open.discard(wrapped)

    def shutdown_request(self, request: Any) -> None:
        """Close the connection and drop its record."""
        super().shutdown_request(request)
        with self._closed:
            self._open.discard(request)
            self._closed.notify_all()
