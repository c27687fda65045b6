"""Replaces a stored result by PATCH, or by PUT on servers whose PATCH does not replace.

A PATCH may merge the sent result into the stored one, so that rows of an earlier table stay. Or the server, or a
proxy in front of it, rejects the method in some way. So the stored result in the answer is compared with the sent
one. If they differ, or PATCH failed with anything but a conflict, the update is sent by PUT, and the server is
remembered.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import requests

from slidehook.dpat.errors import DpatNotReached, DpatRefused, DpatUnavailable, TokenExpired
from slidehook.dpat.iaapi.framing import describe_call
from slidehook.dpat.iaapi.http_transport import ApiCalls, raise_for_status
from slidehook.dpat.iaapi.proxies import is_from_proxy, refuses_token
from slidehook.dpat.tokens import MAX_OTHER_TOKENS, SingleTokenAuth

NO_SUCH_METHOD = frozenset({405, 501})
OWN_FIELDS = ("displayResult", "displayProperties", "applicationVersion", "data")
"""The fields of a stored result that an update replaces; all others belong to DPAT."""


class UpdateCalls(ApiCalls):
    """Calls that replace a stored result."""

    def replace(self, path: str, body: dict[str, Any]) -> requests.Response:
        """Replace the result at `path` by `body`; returns DPAT's answer, whose status is a success.

        Raises Conflict when the result's version differs from the one in the body.
        """
        if self._transport.put_only.is_put_only():
            put = self._send_update("PUT", path, body)
            if put.status_code not in NO_SUCH_METHOD:
                return _checked(put)
            self._transport.put_only.forget()
        try:
            patch = self._send_update("PATCH", path, body)
        except DpatNotReached:
            raise
        except DpatUnavailable:
            self._transport.put_only.avoid_patch()  # some proxies drop requests with an unknown method
            raise
        if patch.status_code == HTTPStatus.CONFLICT or (not patch.ok and "Retry-After" in patch.headers):
            return raise_for_status(patch)
        stored = _json(patch) if patch.ok else None
        if is_as_sent(body, stored):
            return patch
        return self._fall_back_to_put(path, body, patch, stored)

    def _fall_back_to_put(
        self, path: str, body: dict[str, Any], patch: requests.Response, stored: Any
    ) -> requests.Response:
        """Send the update by PUT after a PATCH that did not replace; `stored` is the PATCH's result, if any."""
        version = stored.get("versionId") if isinstance(stored, dict) else None
        to_put = body | {"versionId": version} if isinstance(version, int | str) else body
        if patch.ok:
            self._transport.put_only.avoid_patch()  # if the PUT's answer is lost, no further PATCH may merge
        put = self._send_update("PUT", path, to_put)
        if put.ok:
            checked = _checked(put)
            self._transport.put_only.remember()
            return checked
        if put.status_code == HTTPStatus.CONFLICT:
            self._transport.put_only.avoid_patch()  # the PATCH may have been carried out, whatever its answer
            return raise_for_status(put)
        if put.status_code in NO_SUCH_METHOD or (not _is_transient(put) and (patch.ok or _is_transient(patch))):
            self._transport.put_only.forget()
            if isinstance(stored, dict):
                _require_no_stale_rows(body, stored)
            return _checked(patch)
        return _checked(put)

    def _send_update(self, method: str, path: str, body: dict[str, Any]) -> requests.Response:
        """Send an update once and return its answer, whatever its status.

        A 401 or 403 may reject the method or the token. It rejects the token when a GET with it is rejected as well;
        then other tokens are tried. Raises TokenExpired when none is left.
        """
        for _ in range(MAX_OTHER_TOKENS + 1):
            auth, left_s = SingleTokenAuth(self._auth), self._retry_policy.left_s
            answer = self._transport.request(method, path, auth, left_s=left_s, json=body)
            if not refuses_token(answer):
                break
            probe = self.request("GET", path)
            if refuses_token(probe) or is_from_proxy(probe) or _is_transient(probe):
                return raise_for_status(probe)
            if _token_of(probe) == _token_of(answer):
                break
        return answer


def is_as_sent(sent: dict[str, Any], stored: Any) -> bool:
    """Whether a stored result equals the sent one in the app's own fields; fields that DPAT adds are ignored."""
    if not isinstance(stored, dict) or stored.get("id") is None or stored.get("versionId") is None:
        return False
    return all(_equal(sent.get(name), stored.get(name)) for name in OWN_FIELDS)


def _equal(sent: Any, stored: Any) -> bool:
    """Compare two JSON values; a null field counts as missing."""
    if sent == stored:
        return True
    if isinstance(sent, list) and isinstance(stored, list):
        return len(sent) == len(stored) and all(map(_equal, sent, stored))
    if isinstance(sent, dict) and isinstance(stored, dict):
        names = {name for each in (sent, stored) for name, value in each.items() if value is not None}
        return all(_equal(sent.get(name), stored.get(name)) for name in names)
    return False


def _require_no_stale_rows(sent: dict[str, Any], stored: dict[str, Any]) -> None:
    """Raise DpatRefused if rows of an earlier table have stayed: they would appear to belong to this result."""
    rows = stored.get("displayProperties")
    stored_rows = rows.items() if isinstance(rows, dict) else []
    if any(value is not None and name not in sent.get("displayProperties", {}) for name, value in stored_rows):
        raise DpatRefused("DPAT merges a PATCH into the earlier result and accepts no PUT.")


def _checked(answer: requests.Response) -> requests.Response:
    """Return an answer with a success status. `_send_update` has ruled out that a 401 or 403 concerns the token."""
    try:
        return raise_for_status(answer)
    except TokenExpired as error:
        raise DpatRefused(
            f"DPAT accepts the token, but answered {answer.status_code} to {describe_call(answer)}."
        ) from error


def _is_transient(answer: requests.Response) -> bool:
    """Whether an answer reports a busy or failing server, and nothing about the call itself."""
    status = answer.status_code
    return status in {408, 429} or (status >= 500 and status not in {501, 505})


def _json(answer: requests.Response) -> Any:
    try:
        return json.loads(answer.content)
    except (ValueError, RecursionError):
        return None


def _token_of(answer: requests.Response) -> str | None:
    return answer.request.headers.get("Authorization")
