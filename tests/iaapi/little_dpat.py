"""A little DPAT: a real HTTP server with replaceable answers that records its calls."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

BASE = "/SectraPathologyServer/external/imageanalysis/v1"


@dataclass
class Reply:
    """An answer. `sent` is how many bytes of the body are really sent; they are sent after the event `until`."""

    status: int = 200
    body: bytes | Any = b""
    headers: Mapping[str, str | None] = field(default_factory=dict)
    sent: int | None = None
    until: threading.Event | None = None

    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Call:
    """A received call. `port` is the caller's and identifies the connection."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    port: int = 0

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answerer = Callable[[Call], Reply]


class LittleDpat:
    """Stores results like DPAT; `answer` replaces its answers to a call, in order, and the last one permanently."""

    def __init__(self, port: int = 0) -> None:
        self.calls: list[Call] = []
        self.results: dict[int, dict[str, Any]] = {}
        self.record: dict[str, Any] = {
            "imageSize": {"width": 2000, "height": 1000},
            "staining": {"displayName": "HE"},
        }
        self.version: str | None = "1.10"
        self._answers: dict[tuple[str, str], deque[Reply | Answerer]] = {}
        self._lock = threading.Lock()
        self.stored = threading.Event()
        """Set once a new result is stored."""
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = self.url_at(self._server.server_address[1])

    @staticmethod
    def url_at(port: int) -> str:
        return f"http://127.0.0.1:{port}{BASE}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, *replies: Reply | Answerer) -> None:
        self._answers[method, path] = deque(replies)

    def made(self, method: str) -> list[Call]:
        return [call for call in self.calls if call.method == method]

    def reply(self, call: Call) -> Reply:
        with self._lock:
            self.calls.append(call)
            own = self._answers.get((call.method, call.path)) or self._answers.get((call.method, "*"))
            given = self.usual if not own else own.popleft() if len(own) > 1 else own[0]
        return given if isinstance(given, Reply) else given(call)

    def usual(self, call: Call) -> Reply:
        """Answer as a working DPAT."""
        match call.method, call.path.strip("/").split("/"):
            case "GET", ["slides", slide_id, "info"]:
                return Reply(body={"id": slide_id, **self.record})
            case "GET", ["applications", _, "results", "slide", slide_id]:
                return Reply(body=[each for each in self.results.values() if each["slideId"] == slide_id])
            case "POST", ["applications", _, "results"]:
                return self._store(call)
            case "GET", ["applications", _, "results", number]:
                stored = self.results.get(int(number))
                return Reply(body=stored) if stored else Reply(404)
            case (("PATCH" | "PUT"), ["applications", _, "results", number]):
                return self._update(call, int(number))
            case _:
                return Reply(404)

    def _store(self, call: Call) -> Reply:
        with self._lock:
            number = len(self.results) + 1
            self.results[number] = {**call.json, "id": number, "versionId": "v1", "onlyDpatKnows": {"a": None}}
            self.stored.set()
            return Reply(201, self.results[number])

    def _update(self, call: Call, number: int) -> Reply:
        with self._lock:
            stored = self.results.get(number)
            if stored is None:
                return Reply(404)
            if stored["versionId"] != call.json["versionId"]:
                return Reply(409)
            self.results[number] = {**stored, **call.json, "versionId": f"v{int(stored['versionId'][1:]) + 1}"}
            return Reply(body=self.results[number])


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a test that disconnects."""


def _handler(dpat: LittleDpat) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

        def answer(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path, port = parts.path.removeprefix(BASE), self.client_address[1]
            call = Call(self.command, path, parse_qs(parts.query), dict(self.headers.items()), body, port)
            self.send(dpat.reply(call))

        def send(self, reply: Reply) -> None:
            content = reply.content()
            self.send_response(reply.status)
            headers = {"Content-Length": str(len(content)), "X-Sectra-ApiVersion": dpat.version, **reply.headers}
            for name, value in headers.items():
                if value is not None:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[: reply.sent])
            self.wfile.flush()
            if reply.until is not None:
                reply.until.wait(120)
                self.wfile.write(content[reply.sent :] if reply.sent is not None else b"")
                self.wfile.flush()
            elif reply.sent is not None:
                self.close_connection = True

    for method in ("GET", "POST", "PATCH", "PUT"):
        setattr(Handler, f"do_{method}", Handler.answer)
    return Handler
