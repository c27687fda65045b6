"""Where a call's bearer token comes from: a request, or the site's service account.

A token may expire at any moment of a job. So a client asks its source before each call, and where DPAT refuses the
token, the source is asked for another one, and the call is made again: at most `OTHERS` times.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog
from requests import PreparedRequest, Response
from requests.auth import AuthBase
from requests.hooks import default_hooks

from slidehook.dpat.errors import DpatError, DpatUnavailable
from slidehook.dpat.iaapi.models import Token
from slidehook.dpat.iaapi.proxies import refuses_token
from slidehook.errors import AccessExpired
from slidehook.systems import Secrets

OTHERS = 3
"""How many other tokens a refused call is tried with: a newer request's, the account's, and a fresh one of it."""
EARLY_S = 60.0
EARLY_SHARE = 0.2
"""The service account's token is renewed so long before it ends, or such a part of its life where that is shorter."""
NEW_S = 5.0
"""A token that DPAT refuses when it is younger than this is not worth another one, in seconds."""
REFUSAL_S = 300.0
"""How long the service account is not tried again after DPAT refused it, in seconds: some sites lock accounts."""

log = structlog.get_logger()


class TokenAuth(AuthBase):
    """Sets the source's token, and makes a call that is refused for it again with others."""

    def __init__(self, source: Secrets) -> None:
        self._source = source

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Give the request with the token."""
        token = self._source.secret()
        request.headers["Authorization"] = f"Bearer {token}"

        def answered(response: Response, **options: Any) -> Response:
            return self._answered(response, token, options)

        request.register_hook("response", answered)  # type: ignore[no-untyped-call]
        return request

    def _answered(self, response: Response, token: str, options: dict[str, Any]) -> Response:
        for _ in range(OTHERS):
            if not refuses_token(response) or (other := self._source.instead_of(token)) is None:
                break
            response.close()
            again = response.request.copy()
            again.headers["Authorization"] = f"Bearer {other}"
            response, token = response.connection.send(again, **options), other
            response.request = again
        return response


class WithoutOthers(AuthBase):
    """Sets another auth's token, but tries no other one: the caller sees what a refusal means."""

    def __init__(self, auth: AuthBase) -> None:
        self._auth = auth

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Give the request with the token."""
        request = self._auth(request)
        request.hooks = default_hooks()
        return request


FetchToken = Callable[[str, str], Token]
"""Fetches a token for the app (its id, second) from the DPAT at a callback URL (first)."""


@dataclass
class _Held:
    """The token for one server and app, and whether it may be asked for."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    token: str | None = field(default=None, repr=False)
    since: float = 0.0
    until: float = 0.0
    refused_until: float = float("-inf")


class ServiceAccount:
    """The site's DPAT user: a token for each server and app, for all threads of a process.

    A token is renewed before it ends; whoever needs it meanwhile waits for the one renewal. `clock` gives seconds.
    """

    def __init__(self, fetch: FetchToken, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[tuple[str, str], _Held] = {}

    def token(self, url: str, app_id: str, *, refused: str | None = None) -> str | None:
        """Give a token, another than the `refused` one; None where DPAT gives this user none.

        Raises DpatUnavailable when DPAT can't be asked now.
        """
        with self._lock:
            held = self._held.setdefault((url, app_id), _Held())
        with held.lock:
            if held.token is not None and held.token == refused:
                if self._clock() - held.since < NEW_S:
                    return None
                held.token = None
            if held.token is None or self._clock() >= held.until:
                self._renew(held, url, app_id)
            return held.token

    def _renew(self, held: _Held, url: str, app_id: str) -> None:
        held.token = None
        if self._clock() < held.refused_until:
            return
        try:
            fresh = self._fetch(url, app_id)
        except DpatUnavailable:
            raise
        except DpatError as error:
            held.refused_until = self._clock() + REFUSAL_S
            log.error("the service account gets no token", app=app_id, reason=str(error))
            return
        lives_s = fresh.expires_in if fresh.expires_in and fresh.expires_in > 0 else float("inf")
        held.token, held.since = fresh.access_token, self._clock()
        held.until = held.since + lives_s - min(EARLY_S, EARLY_SHARE * lives_s)
        log.info("token of the service account renewed", app=app_id)


class WithAccount:
    """A job's tokens, and the service account's token behind them. See `slidehook.systems.Secrets`."""

    def __init__(self, secrets: Secrets, account: ServiceAccount, url: str, app_id: str) -> None:
        self._secrets = secrets
        self._account = account
        self._url = url
        self._app_id = app_id

    def secret(self) -> str:
        """Return the job's newest token, else the account's; raises TokenExpired, DpatUnavailable."""
        try:
            return self._secrets.secret()
        except AccessExpired:
            token = self._account.token(self._url, self._app_id)
            if token is None:
                raise
            return token

    def instead_of(self, refused: str) -> str | None:
        """Return another token than the `refused` one: the job's, else the account's; None when there is none."""
        return self._secrets.instead_of(refused) or self._account.token(self._url, self._app_id, refused=refused)


class Checked:
    """Tokens that are given only while `check` does not raise. See `slidehook.systems.Access`."""

    def __init__(self, secrets: Secrets, check: Callable[[], None]) -> None:
        self._secrets = secrets
        self._check = check

    def secret(self) -> str:
        """Return the token for the next call; raises what `check` and the tokens raise."""
        token = self._secrets.secret()
        self._check()  # last, because fetching a token may take long
        return token

    def instead_of(self, refused: str) -> str | None:
        """Return another token than the `refused` one; None when there is none. Raises as `secret` does."""
        other = self._secrets.instead_of(refused)
        self._check()
        return other
