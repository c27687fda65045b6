"""Replaces a stored result: by PATCH, where the server does with that what others do with PUT, else by PUT.

A PATCH may merge what is sent into what is there, so that rows of an earlier table stay. Or a server, or a proxy in
front of it, refuses the method in whatever way. So what the server says it has stored is compared with what was sent.
If that differs, or anything but a conflict came, the same goes by PUT, and the server is remembered.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import requests

from slidehook.dpat.iaapi.framing import call_of
from slidehook.dpat.iaapi.http_transport import ApiCalls, raise_for_status
from slidehook.dpat.iaapi.proxies import is_from_proxy, refuses_token
from slidehook.dpat.tokens import OTHERS, WithoutOthers
from slidehook.errors import DpatNotReached, DpatUnavailable, Refused, TokenExpired

NO_SUCH_METHOD = frozenset({405, 501})
OWN_FIELDS = ("displayResult", "displayProperties", "applicationVersion", "data")
"""The fields of a stored result that an update replaces; all others are DPAT's."""


class Updating(ApiCalls):
    """Calls that replace a stored result."""

    def replace(self, path: str, body: dict[str, Any]) -> requests.Response:
        """Replace the result at `path` by `body`; gives DPAT's answer of success.

        Raises Conflict when the result has another version than the body names.
        """
        if self._wire.put_server.is_known():
            put = self._sent("PUT", path, body)
            if put.status_code not in NO_SUCH_METHOD:
                return _checked(put)
            self._wire.put_server.forget()
        try:
            patch = self._sent("PATCH", path, body)
        except DpatNotReached:
            raise
        except DpatUnavailable:
            self._wire.put_server.suspect()  # some proxies drop a method that they don't know
            raise
        if patch.status_code == HTTPStatus.CONFLICT or (not patch.ok and "Retry-After" in patch.headers):
            return raise_for_status(patch)
        stored = _json(patch) if patch.ok else None
        if is_as_sent(body, stored):
            return patch
        return self._put_instead(path, body, patch, stored)

    def _put_instead(
        self, path: str, body: dict[str, Any], patch: requests.Response, stored: Any
    ) -> requests.Response:
        """Send by PUT what a PATCH did not do; `stored` is what the PATCH made of it, if anything."""
        version = stored.get("versionId") if isinstance(stored, dict) else None
        to_put = body | {"versionId": version} if isinstance(version, int | str) else body
        if patch.ok:
            self._wire.put_server.suspect()  # should the PUT's answer be lost, no further PATCH may merge
        put = self._sent("PUT", path, to_put)
        if put.ok:
            found = _checked(put)
            self._wire.put_server.remember()
            return found
        if put.status_code == HTTPStatus.CONFLICT:
            self._wire.put_server.suspect()  # the PATCH may have been carried out, whatever its answer
            return raise_for_status(put)
        if put.status_code in NO_SUCH_METHOD or (not _may_pass(put) and (patch.ok or _may_pass(patch))):
            self._wire.put_server.forget()
            if isinstance(stored, dict):
                _check_nothing_is_left(body, stored)
            return _checked(patch)
        return _checked(put)

    def _sent(self, method: str, path: str, body: dict[str, Any]) -> requests.Response:
        """Send an update once, and give its answer, whatever its status.

        A 401 or 403 may be for the method, or for the token. It is the token's when a GET with it is refused as well:
        then other tokens are tried, and where there is none TokenExpired is raised.
        """
        for _ in range(OTHERS + 1):
            auth, left_s = WithoutOthers(self._auth), self._patience.left_s
            answer = self._wire.request(method, path, auth, left_s=left_s, json=body)
            if not refuses_token(answer):
                break
            asked = self.request("GET", path)
            if refuses_token(asked) or is_from_proxy(asked) or _may_pass(asked):
                return raise_for_status(asked)
            if _token_of(asked) == _token_of(answer):
                break
        return answer


def is_as_sent(sent: dict[str, Any], stored: Any) -> bool:
    """Say whether a stored result is what was sent; what DPAT adds beside an app's own fields does not matter."""
    if not isinstance(stored, dict) or stored.get("id") is None or stored.get("versionId") is None:
        return False
    return all(_equal(sent.get(name), stored.get(name)) for name in OWN_FIELDS)


def _equal(sent: Any, stored: Any) -> bool:
    """Compare two JSON values; a field that is null counts as missing."""
    if sent == stored:
        return True
    if isinstance(sent, list) and isinstance(stored, list):
        return len(sent) == len(stored) and all(map(_equal, sent, stored))
    if isinstance(sent, dict) and isinstance(stored, dict):
        names = {name for each in (sent, stored) for name, value in each.items() if value is not None}
        return all(_equal(sent.get(name), stored.get(name)) for name in names)
    return False


def _check_nothing_is_left(sent: dict[str, Any], stored: dict[str, Any]) -> None:
    """Raise Refused where rows of an earlier table have stayed: they would pass for this result's."""
    rows = stored.get("displayProperties")
    now = rows.items() if isinstance(rows, dict) else []
    if any(value is not None and name not in sent.get("displayProperties", {}) for name, value in now):
        raise Refused("DPAT merges an update by PATCH into the earlier result, and takes none by PUT.")


def _checked(answer: requests.Response) -> requests.Response:
    """Give an answer of success. A refusal is not for the token here: `_sent` has proven that."""
    try:
        return raise_for_status(answer)
    except TokenExpired as error:
        raise Refused(f"DPAT takes the token, but answered {answer.status_code} to {call_of(answer)}.") from error


def _may_pass(answer: requests.Response) -> bool:
    """Say whether an answer tells of a server that is busy or not well, and nothing of the call."""
    status = answer.status_code
    return status in {408, 429} or (status >= 500 and status not in {501, 505})


def _json(answer: requests.Response) -> Any:
    try:
        return json.loads(answer.content)
    except (ValueError, RecursionError):
        return None


def _token_of(answer: requests.Response) -> str | None:
    return answer.request.headers.get("Authorization")
