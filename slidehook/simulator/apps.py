"""The apps that an administrator has registered, and how their registration is retrieved."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from pydantic import ValidationError

from slidehook.dpat.iaapi.models import Record, Registration, VersionInfo
from slidehook.simulator.direct import call
from slidehook.simulator.errors import AppAnsweredWrong, Malformed, NotFound, first_fault

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class RegisteredApp:
    """An app as the administrator sees it. Invocations go to `registration.url`, as the app gave it."""

    registration: Registration
    version: VersionInfo | None
    """What the app says of its own versions; None when it does not say."""
    entered_url: str
    enabled: bool = False
    notifications: bool = False

    @property
    def id(self) -> str:
        """The application id."""
        return self.registration.application_id

    def to_json(self) -> dict[str, Any]:
        """Give the app as /sim shows it: the registration, its state, and the app's own versions."""
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
        """Keep an app; one registered before under the same id is replaced, and so disabled again."""
        with self._lock:
            self._apps[app.id] = app

    def get(self, application_id: str) -> RegisteredApp:
        """Give an app; raises NotFound."""
        with self._lock:
            app = self._apps.get(application_id)
        if app is None:
            raise NotFound(f"No app {application_id!r} is registered.")
        return app

    def all(self) -> list[RegisteredApp]:
        """Give the apps in the order of their registration."""
        with self._lock:
            return list(self._apps.values())

    def change(self, application_id: str, *, enabled: bool | None, notifications: bool | None) -> RegisteredApp:
        """Switch an app, or its notifications, on or off; None leaves it. Raises NotFound."""
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
        """Forget an app; raises NotFound."""
        with self._lock:
            if self._apps.pop(application_id, None) is None:
                raise NotFound(f"No app {application_id!r} is registered.")


def retrieve(url: str, headers: Mapping[str, str], timeout_s: float, *, strict: bool) -> RegisteredApp:
    """Do what "Retrieve registration info" does: ask the app who it is, and which versions it speaks.

    Unless `strict`, an app need not tell its versions, neither in its answers' headers nor at `/info`.
    Raises Malformed when `url` is no http(s) address, AppAnsweredWrong for anything wrong with the answers.
    """
    url = url.rstrip("/")
    if not is_address(url):
        raise Malformed(f"{url!r} is not an address that begins with http:// or https://.")
    registration = _ask(url, headers, timeout_s, Registration, strict=strict)
    if not is_address(registration.url):
        raise AppAnsweredWrong(f"The app gave {registration.url!r} as its address, which is none.")
    version: VersionInfo | None = None
    try:
        version = _ask(f"{url}/info", headers, timeout_s, VersionInfo, strict=strict)
    except AppAnsweredWrong:
        if strict:
            raise
    return RegisteredApp(registration, version, url)


def is_address(url: str) -> bool:
    """Say whether `url` is an absolute http(s) address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _ask(url: str, headers: Mapping[str, str], timeout_s: float, model: type[R], *, strict: bool) -> R:
    try:
        answer = call("GET", url, headers=headers, timeout_s=timeout_s)
    except requests.RequestException as error:
        raise AppAnsweredWrong(f"GET {url} got no answer: {type(error).__name__}.") from error
    if answer.status_code != 200:
        raise AppAnsweredWrong(f"GET {url} was answered with {answer.status_code}, not 200.")
    if strict and (missing := missing_headers(answer)):
        raise AppAnsweredWrong(f"The answer to GET {url} lacks the header {missing[0]}.")
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as error:
        raise AppAnsweredWrong(f"The answer to GET {url} is wrong: {first_fault(error)}.") from error


def missing_headers(answer: requests.Response) -> list[str]:
    """Give the names of the version headers that an app's answer lacks."""
    return [name for name in ("X-Sectra-ApiVersion", "X-Sectra-SoftwareVersion") if name not in answer.headers]
