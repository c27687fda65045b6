"""The sources of a call's bearer token: requests, and the site's service account.

A token may expire at any moment of a job. So a client gets it from its source before each call. If DPAT refuses the
token, the call is repeated with another one from the source, at most `MAX_OTHER_TOKENS` times.
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

MAX_OTHER_TOKENS = 3
"""How many other tokens are tried after a refusal: a newer request's, the account's, and a renewed one."""
EARLY_S = 60.0
EARLY_SHARE = 0.2
"""The service account's token is renewed this long, or this share of its lifetime if less, before it expires."""
NEW_S = 5.0
"""A token that DPAT refuses at a lower age than this, in seconds, is not renewed."""
REFUSAL_S = 300.0
"""How long a refused service account is not used, in seconds, because some sites lock accounts."""

log = structlog.get_logger()


class TokenAuth(AuthBase):
    """Sets the source's token, and repeats a call with other tokens when DPAT refuses the first."""

    def __init__(self, source: Secrets) -> None:
        self._source = source

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Return the request with the token."""
        token = self._source.secret()
        request.headers["Authorization"] = f"Bearer {token}"

        def on_response(response: Response, **options: Any) -> Response:
            return self._retry_with_others(response, token, options)

        request.register_hook("response", on_response)  # type: ignore[no-untyped-call]
        return request

    def _retry_with_others(self, response: Response, token: str, options: dict[str, Any]) -> Response:
        for _ in range(MAX_OTHER_TOKENS):
            if not refuses_token(response) or (other := self._source.instead_of(token)) is None:
                break
            response.close()
            again = response.request.copy()
            again.headers["Authorization"] = f"Bearer {other}"
            response, token = response.connection.send(again, **options), other
            response.request = again
        return response


class SingleTokenAuth(AuthBase):
    """Sets another auth's token without trying others, so that the caller can interpret a refusal."""

    def __init__(self, auth: AuthBase) -> None:
        self._auth = auth

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Return the request with the token."""
        request = self._auth(request)
        request.hooks = default_hooks()
        return request


FetchToken = Callable[[str, str], Token]
"""Fetches a token from DPAT; the arguments are the callback URL and the app's id."""


@dataclass
class _CachedToken:
    """The token for one server and app, with its lifetime, and the end of the pause after a refusal."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    token: str | None = field(default=None, repr=False)
    since: float = 0.0
    until: float = 0.0
    refused_until: float = float("-inf")


class ServiceAccount:
    """The site's DPAT user: one token per server and app, shared by all threads of a process.

    A token is renewed before it expires. All threads that need it meanwhile wait for one renewal. `clock` returns
    seconds.
    """

    def __init__(self, fetch: FetchToken, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._cached: dict[tuple[str, str], _CachedToken] = {}

    def token(self, url: str, app_id: str, *, refused: str | None = None) -> str | None:
        """Return a token other than `refused`; None if DPAT denies this user a token.

        Raises DpatUnavailable when DPAT is unavailable now.
        """
        with self._lock:
            cached = self._cached.setdefault((url, app_id), _CachedToken())
        with cached.lock:
            if cached.token is not None and cached.token == refused:
                if self._clock() - cached.since < NEW_S:
                    return None
                cached.token = None
            if cached.token is None or self._clock() >= cached.until:
                self._renew(cached, url, app_id)
            return cached.token

    def _renew(self, cached: _CachedToken, url: str, app_id: str) -> None:
        cached.token = None
        if self._clock() < cached.refused_until:
            return
        try:
            fresh = self._fetch(url, app_id)
        except DpatUnavailable:
            raise
        except DpatError as error:
            cached.refused_until = self._clock() + REFUSAL_S
            log.error("DPAT denies the service account a token", app=app_id, reason=str(error))
            return
        lives_s = fresh.expires_in if fresh.expires_in and fresh.expires_in > 0 else float("inf")
        cached.token, cached.since = fresh.access_token, self._clock()
        cached.until = cached.since + lives_s - min(EARLY_S, EARLY_SHARE * lives_s)
        log.info("token of the service account renewed", app=app_id)


class WithAccount:
    """A job's tokens, and the service account's token as a fallback. See `slidehook.systems.Secrets`."""

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
        """Return a token other than `refused`: the job's, else the account's; None when there is none."""
        return self._secrets.instead_of(refused) or self._account.token(self._url, self._app_id, refused=refused)


class CheckedSecrets:
    """Tokens that are returned only if `check` does not raise. See `slidehook.systems.Access`."""

    def __init__(self, secrets: Secrets, check: Callable[[], None]) -> None:
        self._secrets = secrets
        self._check = check

    def secret(self) -> str:
        """Return the token for the next call; raises the errors of `check` and of the tokens."""
        token = self._secrets.secret()
        self._check()  # last, because fetching a token may take long
        return token

    def instead_of(self, refused: str) -> str | None:
        """Return a token other than `refused`; None when there is none. Raises as `secret` does."""
        other = self._secrets.instead_of(refused)
        self._check()
        return other
