"""The WSGI middleware around the IA-API: it injects faults and logs every call."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import ClientDisconnected
from werkzeug.wrappers import Response
from werkzeug.wsgi import get_input_stream

from slidehook.simulator.calls import Call, CallLog
from slidehook.simulator.faults import Fault, Faults

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

FAULT_KEY = "simulator.fault"
"""The key of a call's fault in the WSGI environment."""

HTML_PAGE = "<!doctype html><title>Sign in</title><p>Your session has ended. Please sign in again."


class ConnectionAborted(ConnectionError):
    """The connection must be closed at once."""


def _with_headers(start_response: StartResponse, changes: Mapping[str, str]) -> StartResponse:
    """Return a `start_response` that replaces headers of the answer; an empty value removes one."""

    def start(line: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        names = {name.lower() for name in changes}
        kept = [(name, value) for name, value in headers if name.lower() not in names]
        return start_response(line, kept + [(name, value) for name, value in changes.items() if value], exc_info)

    return start


class IaapiMiddleware:
    """The middleware for paths below `prefix`; setting `stopping` ends all its waits."""

    def __init__(
        self,
        app: WSGIApplication,
        *,
        prefix: str,
        faults: Faults,
        calls: CallLog,
        headers: Mapping[str, str],
        delay_s: float,
        stopping: threading.Event,
    ) -> None:
        self._app = app
        self._prefix = prefix
        self._faults = faults
        self._calls = calls
        self._headers = headers
        self._delay_s = delay_s
        self._stopping = stopping

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a WSGI call; raises ConnectionAborted, here or during iteration, to end the connection."""
        # The whole body is read, so that the connection is reusable even if no view reads it.
        try:
            body = get_input_stream(environ).read()
        except ClientDisconnected as error:
            raise ConnectionAborted from error
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        if not environ["PATH_INFO"].startswith(self._prefix):
            return self._app(environ, start_response)
        return self._serve(environ, start_response)

    def _serve(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        started, at, sent, logged = time.perf_counter(), time.time(), 0, False
        status: list[int] = []

        def log() -> None:
            seconds = time.perf_counter() - started
            method, path, query = (environ[key] for key in ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING"))
            self._calls.add(Call(at, method, path, query, status[0] if status else None, seconds, sent))

        def note_status(line: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            status[:] = [int(line.split(" ", 1)[0])]
            return start_response(line, headers, exc_info)

        try:
            self._stopping.wait(self._delay_s)
            fault = self._faults.take(environ["REQUEST_METHOD"], environ["PATH_INFO"])
            answer = self._respond(environ, note_status, fault)
            try:
                # One chunk is held back: the call must be logged before the caller has the whole answer.
                held: bytes | None = None
                for chunk in self._apply_body_fault(answer, fault):
                    if held is not None:
                        yield held
                    held = chunk
                    sent += len(chunk)
                log()
                logged = True
                if held is not None:
                    yield held
            finally:
                if hasattr(answer, "close"):
                    answer.close()
        finally:
            if not logged:
                log()

    def _respond(
        self, environ: WSGIEnvironment, start_response: StartResponse, fault: Fault | None
    ) -> Iterable[bytes]:
        environ[FAULT_KEY] = fault
        kind = fault.kind if fault else None
        if fault is None:
            return self._app(environ, start_response)
        if kind == "close":
            raise ConnectionAborted
        if kind == "headers":
            return self._app(environ, _with_headers(start_response, fault.headers))
        if kind == "delay":
            self._stopping.wait(fault.seconds)
        if kind == "status":
            message = f'{{"message": "The simulator was asked to answer {fault.status}."}}\n'
            headers = {"Content-Type": "application/json", **self._headers, **fault.headers}
            return Response(message, fault.status, headers)(environ, start_response)
        if kind == "html":
            return Response(HTML_PAGE, 200, fault.headers, mimetype="text/html")(environ, start_response)
        if kind == "short" and not environ["PATH_INFO"].endswith("/files"):
            whole = Response.from_app(self._app, environ, buffered=True)
            whole.set_data(whole.get_data()[: fault.kept_bytes(len(whole.get_data()))])
            return whole(environ, start_response)
        return self._app(environ, start_response)

    def _apply_body_fault(self, chunks: Iterable[bytes], fault: Fault | None) -> Iterator[bytes]:
        if fault is None or fault.kind not in ("cut", "stall"):
            yield from chunks
            return
        left = fault.after_bytes or 0
        for chunk in chunks:
            if len(chunk) <= left:
                left -= len(chunk)
                yield chunk
                continue
            yield chunk[:left]
            # An empty chunk flushes the one that is held back.
            yield b""
            if fault.kind == "cut":
                raise ConnectionAborted
            self._stopping.wait(fault.seconds)
            yield chunk[left:]
            left = 1 << 62
