"""Actions of an administrator, a scanner and a user at the simulated DPAT, over its HTTP endpoints."""

from __future__ import annotations

from typing import Any

import requests

from slidehook.errors import SlidehookError

TIMEOUT_S = 60.0


class DemoFailed(SlidehookError):
    """The demo has failed."""


def direct_session() -> requests.Session:
    """Return a session for calls to this host that ignores the environment's proxies."""
    session = requests.Session()
    session.trust_env = False
    return session


class SimulatedDpat:
    """The simulator's own endpoints, below `/sim`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = direct_session()

    def register(self, app_url: str) -> dict[str, Any]:
        """Act as an administrator: retrieve the registration, enable the app and its notifications."""
        app: dict[str, Any] = self._call("POST", "apps", {"url": app_url})
        self._call("PATCH", f"apps/{app['applicationId']}", {"enabled": True, "notifications": True})
        return app

    def slides(self) -> list[dict[str, Any]]:
        """List the slides."""
        slides: list[dict[str, Any]] = self._call("GET", "slides")
        return slides

    def notify(self, slide_id: str) -> None:
        """Act as DPAT after the import of a scanner's image."""
        for call in self._call("POST", "notifications", {"slideId": slide_id}):
            _expect_answered(call)

    def invoke(self, app_id: str, slide_id: str) -> None:
        """Act as DPAT after a user has chosen the app in a slide's menu."""
        _expect_answered(self._call("POST", "invocations", {"applicationId": app_id, "slideId": slide_id}))

    def result(self, app_id: str, slide_id: str) -> dict[str, Any] | None:
        """Return the app's newest result on a slide with its history, or None."""
        results = self._call("GET", f"results?applicationId={app_id}&slideId={slide_id}")
        return results[-1] if results else None

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        response = self._session.request(method, f"{self.url}/sim/{path}", json=body, timeout=TIMEOUT_S)
        if not response.ok:
            raise DemoFailed(f"the simulator answered {response.status_code} to {method} {path}: {response.text}")
        return response.json()


def _expect_answered(call: dict[str, Any]) -> None:
    if call["status"] != 200 or call.get("fault"):
        raise DemoFailed(f"the app answered {call['status']}: {call.get('fault') or call['answer']}")
