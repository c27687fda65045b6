"""The registered apps, and the retrieval of their registration."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from pydantic import ValidationError

from slidehook.dpat.iaapi.models import Record, Registration, VersionInfo, first_fault
from slidehook.simulator.direct import call
from slidehook.simulator.errors import BadAppAnswer, Malformed, NotFound

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class RegisteredApp:
    """A registered app. Invocations go to `registration.url`, which the app itself states."""

    registration: Registration
    version: VersionInfo | None
    """The versions that the app states, or None."""
    entered_url: str
    enabled: bool = False
    notifications: bool = False

    @property
    def id(self) -> str:
        """The application id."""
        return self.registration.application_id

    def to_json(self) -> dict[str, Any]:
        """Return the app's JSON for /sim: the registration, its state, and the app's own versions."""
        return {
            **self.registration.to_wire(),
            "enabled": self.enabled,
            "notifications": self.notifications,
            "enteredUrl": self.entered_url,
            "apiVersion": self.version.api_version if self.version else None,
            "softwareVersion": self.version.software_version if self.version else None,
        }


class Apps:
    """The registered apps by id."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._apps: dict[str, RegisteredApp] = {}

    def add(self, app: RegisteredApp) -> None:
        """Add an app; it replaces one with the same id, and is therefore disabled again."""
        with self._lock:
            self._apps[app.id] = app

    def get(self, application_id: str) -> RegisteredApp:
        """Return an app; raises NotFound."""
        with self._lock:
            app = self._apps.get(application_id)
        if app is None:
            raise NotFound(f"No app {application_id!r} is registered.")
        return app

    def all(self) -> list[RegisteredApp]:
        """Return the apps in the order of their registration."""
        with self._lock:
            return list(self._apps.values())

    def change(self, application_id: str, *, enabled: bool | None, notifications: bool | None) -> RegisteredApp:
        """Switch an app, or its notifications, on or off; None changes nothing. Raises NotFound."""
        with self._lock:
            app = self._apps.get(application_id)
            if app is None:
                raise NotFound(f"No app {application_id!r} is registered.")
            app = replace(
                app,
                enabled=app.enabled if enabled is None else enabled,
                notifications=app.notifications if notifications is None else notifications,
            )
            self._apps[application_id] = app
        return app

    def remove(self, application_id: str) -> None:
        """Remove an app; raises NotFound."""
        with self._lock:
            if self._apps.pop(application_id, None) is None:
                raise NotFound(f"No app {application_id!r} is registered.")


def retrieve_registration(url: str, headers: Mapping[str, str], timeout_s: float, *, strict: bool) -> RegisteredApp:
    """Do the same as DPAT's "Retrieve registration info": read an app's registration and its versions.

    Unless `strict`, the versions are optional, both in the answers' headers and at `/info`.
    Raises Malformed when `url` is not an http(s) URL, BadAppAnswer for any fault in the answers.
    """
    url = url.rstrip("/")
    if not is_address(url):
        raise Malformed(f"{url!r} is not an http:// or https:// URL.")
    registration = _get(url, headers, timeout_s, Registration, strict=strict)
    if not is_address(registration.url):
        raise BadAppAnswer(f"The app states the URL {registration.url!r}, which is not an http(s) URL.")
    version: VersionInfo | None = None
    try:
        version = _get(f"{url}/info", headers, timeout_s, VersionInfo, strict=strict)
    except BadAppAnswer:
        if strict:
            raise
    return RegisteredApp(registration, version, url)


def is_address(url: str) -> bool:
    """Whether `url` is an absolute http(s) URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _get(url: str, headers: Mapping[str, str], timeout_s: float, model: type[R], *, strict: bool) -> R:
    try:
        answer = call("GET", url, headers=headers, timeout_s=timeout_s)
    except requests.RequestException as error:
        raise BadAppAnswer(f"GET {url} got no answer: {type(error).__name__}.") from error
    if answer.status_code != 200:
        raise BadAppAnswer(f"GET {url} was answered with {answer.status_code}, not 200.")
    if strict and (missing := missing_headers(answer)):
        raise BadAppAnswer(f"The answer to GET {url} lacks the header {missing[0]}.")
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as error:
        raise BadAppAnswer(f"The answer to GET {url} is wrong: {first_fault(error).of()}.") from error


def missing_headers(answer: requests.Response) -> list[str]:
    """Return the names of the version headers that are missing in an app's answer."""
    return [name for name in ("X-Sectra-ApiVersion", "X-Sectra-SoftwareVersion") if name not in answer.headers]
