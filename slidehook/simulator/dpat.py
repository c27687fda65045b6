"""The simulated DPAT without a network: its state, and the actions of its administrator and users."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from slidehook.simulator.apps import Apps, RegisteredApp, retrieve_registration
from slidehook.simulator.calls import Call, CallLog
from slidehook.simulator.errors import Conflict, Malformed, NotFound
from slidehook.simulator.faults import Fault, Faults, Kind
from slidehook.simulator.image_records import ImageRecords
from slidehook.simulator.invoking import (
    ACTIONS,
    WHOLE_SLIDE,
    Answer,
    call_app,
    edited_gallery,
    is_empty,
    pressed_button,
)
from slidehook.simulator.options import Options
from slidehook.simulator.pictures import Pictures
from slidehook.simulator.quality import Quality
from slidehook.simulator.results import Results
from slidehook.simulator.slides import Slide, SlideFolder
from slidehook.simulator.tokens import Tokens


class Dpat:
    """A simulator's state, in memory. Thread-safe.

    `callback_url` is the base URL for the apps' calls; the server sets it when it listens. Methods that take the id
    of a slide, an app or a result raise NotFound if it does not exist.
    """

    def __init__(self, slides: Path, options: Options) -> None:
        self.options = options
        self.callback_url = ""
        self.folder = SlideFolder(slides)
        self.pictures = Pictures()
        self.records = ImageRecords(self.pictures)
        self.tokens = Tokens(options.token_lifetime_s)
        self.quality = Quality()
        self.app_list = Apps()
        self.result_store = Results()
        self.fault_list = Faults()
        self.call_log = CallLog()
        self._lock = threading.Lock()
        self._cancellations: dict[tuple[str, str], str] = {}

    # Actions of an administrator

    def register(self, url: str) -> RegisteredApp:
        """Retrieve an app's registration and store it, disabled and with notifications off.

        Raises BadAppAnswer, or Malformed when `url` is not an http(s) URL.
        """
        app = retrieve_registration(
            url, self.options.version_headers, self.options.app_timeout_s, strict=self.options.strict
        )
        self.app_list.add(app)
        return app

    def enable(
        self, application_id: str, *, enabled: bool | None = True, notifications: bool | None = None
    ) -> RegisteredApp:
        """Switch an app, or its image notifications, on or off; None changes nothing."""
        return self.app_list.change(application_id, enabled=enabled, notifications=notifications)

    def apps(self) -> list[RegisteredApp]:
        """Return the registered apps."""
        return self.app_list.all()

    def remove(self, application_id: str) -> None:
        """Remove an app; its results stay."""
        self.app_list.remove(application_id)

    # Actions of a user

    def slides(self) -> list[Slide]:
        """Return the slides, sorted by id."""
        return self.folder.all()

    def image_record(self, slide_id: str, *, phi: bool = False) -> dict[str, Any]:
        """Return a slide's image record; it contains quality control since IA-API 1.10."""
        record = self.records.record(self.folder.get(slide_id), phi=phi)
        if self.options.has("1.10"):
            record["qualityControl"] = self.quality.get(slide_id)
        return record

    def case(self, accession_number: str, issuer: str | None = None) -> list[str]:
        """Return the ids of the slides with this accession number, and with this issuer if given."""
        found = []
        for slide in self.folder.all():
            number, slide_issuer = self.records.accession(slide)
            if number == accession_number and issuer in (None, slide_issuer):
                found.append(slide.id)
        return found

    def invoke(
        self,
        application_id: str,
        slide_id: str,
        action: str = "create",
        *,
        input: dict[str, Any] | None = None,  # noqa: A002  (the IA-API's word)
        context: dict[str, Any] | None = None,
        cancellation_token: str | None = None,
        moved: Mapping[int, str] | None = None,
        pressed: Sequence[str] = (),
    ) -> Answer:
        """Invoke an app on a slide as a user does: `create`, `modify`, `delete` or `cancel`.

        `input` defaults to the whole slide for `create`, and to the app's newest result on the slide for `modify`
        and `delete`. `modify` moves patches (by number) to other tags and presses buttons (by id). `cancel` without
        a `cancellation_token` cancels the latest invocation. A result is deleted once the app has answered 200.
        Raises Conflict when the app is disabled, Malformed for an unknown action.
        """
        if action not in ACTIONS:
            raise Malformed(f"The action is {action!r}, not one of {', '.join(ACTIONS)}.")
        app = self._enabled(application_id)
        slide = self.folder.get(slide_id)
        given = self._input(app, slide, action, input)
        if given is not None and action == "modify":
            given = edited_gallery(given, moved or {}, pressed)
        token = self._cancellation(app, slide, action, cancellation_token)
        body = self._invocation(app, slide, token) | {"action": action}
        if context is not None:
            body["context"] = context
        if given is not None:
            body["input"] = given
        checked = action in ("create", "modify")
        find_fault = (lambda content: self._fault(app, slide, content)) if checked else None
        answer = self._call(app, "", body, find_fault)
        if action == "delete" and answer.status == 200 and given is not None:
            self.result_store.delete(given["id"])
        return answer

    def notify(self, slide_id: str, *, old: bool = False, include_phi: bool = False) -> list[Answer]:
        """Notify every enabled app with notifications on of an imported slide, one app after the other.

        `old` sends neither `action` nor `input`, as older servers do.
        """
        slide = self.folder.get(slide_id)
        info = self.image_record(slide_id, phi=include_phi)
        form = {} if old else {"action": "newImageFiles", "input": dict(WHOLE_SLIDE)}
        answers = []
        for app in self.app_list.all():
            if app.enabled and app.notifications:
                token = self._cancellation(app, slide, "create", None)
                body = self._invocation(app, slide, token) | {"imageInfo": info} | form
                answers.append(self._call(app, "/imagenotification", body, None))
        return answers

    def results(self, application_id: str | None = None, slide_id: str | None = None) -> list[dict[str, Any]]:
        """Return the stored results with their `history`, oldest first; None matches any."""
        return self.result_store.all(application_id, slide_id)

    def attach(self, result_id: int, name: str, content: bytes) -> None:
        """Attach a file to a result; the IA-API's call for uploading one is unknown, so tests use this."""
        self.result_store.attach(result_id, name, content)

    # Helpers for tests

    def token(self, *scope: str) -> str:
        """Return a new bearer token, like that of an invocation; `scope` limits it to an app and slides.

        The scope of a real DPAT's tokens is unknown.
        """
        return self.tokens.issue(*scope)

    def expire_tokens(self) -> int:
        """Expire all tokens issued so far; returns how many were still valid."""
        return self.tokens.expire_all()

    def calls(self) -> list[Call]:
        """Return the IA-API calls received, oldest first."""
        return self.call_log.all()

    def clear_calls(self) -> None:
        """Clear the log of IA-API calls."""
        self.call_log.clear()

    def wait_until(self, predicate: Callable[[], bool], timeout_s: float = 10.0) -> bool:
        """Evaluate `predicate` now and after each IA-API call; returns False if it stays false for `timeout_s`."""
        return self.call_log.wait_until(predicate, timeout_s)

    def add_fault(
        self,
        path: str,
        kind: Kind,
        *,
        method: str | None = None,
        count: int = 1,
        status: int = 503,
        headers: dict[str, str] | None = None,
        after_bytes: int | None = None,
        seconds: float = 1.0,
        dispositions: Sequence[str] = (),
        boundary: str | None = None,
    ) -> Fault:
        """Inject a fault into the next `count` calls whose path matches the regular expression; see `Fault`."""
        fault = Fault(
            path,
            kind,
            method=method,
            count=count,
            status=status,
            headers=headers or {},
            after_bytes=after_bytes,
            seconds=seconds,
            dispositions=tuple(dispositions),
            boundary=boundary,
        )
        self.fault_list.add(fault)
        return fault

    def faults(self) -> list[Fault]:
        """Return the remaining faults."""
        return self.fault_list.all()

    def clear_faults(self) -> None:
        """Remove all faults."""
        self.fault_list.clear()

    def _enabled(self, application_id: str) -> RegisteredApp:
        app = self.app_list.get(application_id)
        if not app.enabled:
            raise Conflict(f"The app {application_id!r} is disabled.")
        return app

    def _input(
        self, app: RegisteredApp, slide: Slide, action: str, given: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        if action == "cancel":
            return None
        if action == "create":
            return dict(WHOLE_SLIDE) if given is None else given
        if given is None:
            stored = self.result_store.of_slide(app.id, slide.id)
            if not stored:
                raise NotFound(f"The app {app.id!r} has no result on the slide {slide.id!r}.")
            given = stored[-1]
        number = given.get("id")
        if not isinstance(number, int):
            raise Malformed(f"The result to {action} has no id.")
        self.result_store.get(app.id, number)
        return given

    def _cancellation(self, app: RegisteredApp, slide: Slide, action: str, given: str | None) -> str:
        key = (app.id, slide.id)
        with self._lock:
            if action == "cancel":
                token = given or self._cancellations.get(key)
                if token is None:
                    raise NotFound(f"There is no invocation of {app.id!r} on {slide.id!r} to cancel.")
                return token
            token = given or secrets.token_hex(16)
            self._cancellations[key] = token
            return token

    def _invocation(self, app: RegisteredApp, slide: Slide, cancellation_token: str) -> dict[str, Any]:
        return {
            "applicationId": app.id,
            "slideId": slide.id,
            "callbackInfo": {"url": self.callback_url, "token": self.tokens.issue()},
            "context": app.registration.context or None,
            "cancellationToken": cancellation_token,
        }

    def _call(
        self, app: RegisteredApp, path: str, body: dict[str, Any], find_fault: Callable[[Any], str | None] | None
    ) -> Answer:
        return call_app(
            app,
            path,
            body,
            headers=self.options.version_headers,
            timeout_s=self.options.app_timeout_s,
            find_fault=find_fault,
            strict=self.options.strict,
        )

    def _fault(self, app: RegisteredApp, slide: Slide, content: Any) -> str | None:
        if is_empty(content):
            return None
        if not isinstance(content, dict) or "id" not in content or "versionId" not in content:
            return "The app's answer is neither empty nor a stored result with its id and versionId."
        number, version_id = content["id"], content["versionId"]
        if not self.result_store.had_version(app.id, slide.id, number, version_id):
            return f"The app's answer has id {number!r} and versionId {version_id!r}, which was never stored."
        if button := pressed_button(content):
            return f"The app's answer leaves the button {button!r} pressed."
        return None
