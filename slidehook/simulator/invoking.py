"""Calls the apps as DPAT does: invocations by a user, and notifications of imported images."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests

from slidehook.simulator.apps import RegisteredApp, missing_headers
from slidehook.simulator.direct import call
from slidehook.simulator.errors import Malformed

ACTIONS = ("create", "modify", "delete", "cancel")
WHOLE_SLIDE = {"type": "wholeSlide"}


@dataclass(frozen=True)
class Answer:
    """An app's answer: `status` is None when no answer arrived, `answer` is its JSON or None.

    `seconds` is the duration of the call. `fault` is one sentence about why DPAT would reject the answer, or None.
    """

    application_id: str
    status: int | None
    answer: Any
    seconds: float
    cancellation_token: str | None
    fault: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the app answered 200 and DPAT would accept the answer."""
        return self.status == 200 and self.fault is None

    def to_json(self) -> dict[str, Any]:
        """Return the answer's JSON for /sim."""
        shown = {
            "applicationId": self.application_id,
            "status": self.status,
            "answer": self.answer,
            "seconds": round(self.seconds, 4),
            "cancellationToken": self.cancellation_token,
        }
        return shown if self.fault is None else {**shown, "fault": self.fault}


def call_app(
    app: RegisteredApp,
    path: str,
    body: dict[str, Any],
    *,
    headers: Mapping[str, str],
    timeout_s: float,
    find_fault: Callable[[Any], str | None] | None,
    strict: bool,
) -> Answer:
    """POST `body` to the app. An error of the app is returned in the answer's `fault`, never raised.

    `find_fault` checks the JSON of an answer with status 200; without it, any JSON is accepted. Unless `strict`, then
    an empty body is accepted too, and the version headers are optional.
    """
    started = time.perf_counter()

    def answer(status: int | None, content: Any, fault: str | None) -> Answer:
        seconds = time.perf_counter() - started
        return Answer(app.id, status, content, seconds, body.get("cancellationToken"), fault)

    try:
        response = call(
            "POST", app.registration.url.rstrip("/") + path, headers=headers, timeout_s=timeout_s, body=body
        )
    except requests.Timeout:
        return answer(None, None, f"The app did not answer within {timeout_s:g} s.")
    except requests.RequestException as error:
        return answer(None, None, f"The app could not be reached: {type(error).__name__}.")
    content, fault = _check_answer(response, find_fault, strict=strict)
    return answer(response.status_code, content, fault)


def _check_answer(
    response: requests.Response, find_fault: Callable[[Any], str | None] | None, *, strict: bool
) -> tuple[Any, str | None]:
    """Return an answer's JSON, and its fault or None."""
    status = response.status_code
    if not response.content and status == 200 and find_fault is None and not strict:
        return None, None
    try:
        content = response.json()
    except ValueError:
        return None, "The app's answer is not JSON."
    if status != 200:
        return content, f"The app answered with {status}, not 200."
    if strict and (missing := missing_headers(response)):
        return content, f"The app's answer lacks the header {missing[0]}."
    return content, find_fault(content) if find_fault else None


def edited_gallery(result: dict[str, Any], moved: Mapping[int, str], pressed: Sequence[str]) -> dict[str, Any]:
    """Return a stored gallery after a user's edits: patches (by number) moved to tags, buttons (by id) pressed.

    Raises Malformed when the result has no such patch, tag or button.
    """
    edited = copy.deepcopy(result)
    content = _gallery(edited)
    patches, tags = content.get("patches") or [], content.get("tags") or []
    for number, tag in moved.items():
        if not 0 <= number < len(patches) or tag not in tags:
            raise Malformed(f"The result has no patch {number}, or no tag {tag!r}.")
        patches[number]["tag"] = tags.index(tag)
    buttons = {each["id"]: each for each in content.get("actions") or []}
    for button_id in pressed:
        if button_id not in buttons:
            raise Malformed(f"The result has no button {button_id!r}.")
        buttons[button_id]["state"] = 1
    return edited


def pressed_button(result: dict[str, Any]) -> str | None:
    """Return the id of a button that is still pressed, or None."""
    return next((each["id"] for each in _gallery(result).get("actions") or [] if each.get("state")), None)


def _gallery(result: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a result's gallery; empty without a gallery."""
    shown = (result.get("data") or {}).get("result") or {}
    return shown["content"] if shown.get("type") == "patchCollection" else {}


def is_empty(content: Any) -> bool:
    """Whether an app's answer is `{}` or `[]`, meaning no result."""
    return content in ({}, [])
