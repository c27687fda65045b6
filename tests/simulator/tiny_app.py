"""The smallest app that can be registered: a real Flask server with replaceable answers."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import requests
from flask import Flask, Response, jsonify, request

from slidehook.simulator.serving import Server

VERSIONS = {"X-Sectra-ApiVersion": "1.8", "X-Sectra-SoftwareVersion": "3.4"}


def result(slide_id: str = "immuno", **changes: Any) -> dict[str, Any]:
    """A valid result, with top-level fields changed."""
    square = [{"x": 0.1, "y": 0.1}, {"x": 0.2, "y": 0.1}, {"x": 0.2, "y": 0.2}]
    item = {"style": {"strokeStyle": "#0078D4", "size": 2}, "polygons": [{"points": square}], "labels": []}
    return {
        "slideId": slide_id,
        "displayResult": "12 %",
        "displayProperties": {"Area": 1.5, "Note": "fine"},
        "applicationVersion": "1.0",
        "data": {"context": {}, "result": {"type": "primitive", "content": [item]}},
    } | changes


class TinyApp:
    """`answer` is the answer to the next invocations; with None the app stores a result and returns that."""

    def __init__(self) -> None:
        self.answer: tuple[int, Any] | None = (200, {})
        self.headers = dict(VERSIONS)
        self.registration: dict[str, Any] = {
            "applicationId": "tiny",
            "displayName": "Tiny",
            "manufacturer": "slidehook",
            "inputTemplate": {"type": "wholeSlide"},
            "context": {"mode": "fast"},
        }
        self.received: list[tuple[str, dict[str, Any]]] = []
        self._flask = Flask("tiny")
        self._flask.add_url_rule("/tiny", view_func=self._register, methods=["GET"])
        self._flask.add_url_rule("/tiny/info", view_func=self._info, methods=["GET"])
        self._flask.add_url_rule("/tiny", "invoke", self._invoke, methods=["POST"])
        self._flask.add_url_rule("/tiny/imagenotification", "notify", self._invoke, methods=["POST"])
        self._flask.after_request(self._versions)
        self._server = Server("127.0.0.1", 0, self._flask)
        self.url = f"http://127.0.0.1:{self._server.port}/tiny"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()

    def _versions(self, response: Response) -> Response:
        response.headers.update(self.headers)
        return response

    def _register(self) -> Response:
        return jsonify({"url": self.url, **self.registration})

    def _info(self) -> Response:
        return jsonify(apiVersion="1.8", softwareVersion="3.4")

    def _invoke(self) -> tuple[Response, int]:
        body = request.get_json()
        self.received.append((request.path, body))
        if self.answer is None:
            return jsonify(self._store(body)), 200
        status, content = self.answer
        return jsonify(content), status

    def _store(self, body: dict[str, Any]) -> Any:
        callback = body["callbackInfo"]
        headers = {"Authorization": f"Bearer {callback['token']}", "X-Sectra-ApiVersion": "1.8"}
        url = f"{callback['url']}/applications/{body['applicationId']}/results"
        stored = requests.post(url, json=result(body["slideId"]), headers=headers, timeout=60)
        return stored.json()
