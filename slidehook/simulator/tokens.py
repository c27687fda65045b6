"""The bearer tokens that a simulator has issued, and their expiry."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable

from slidehook.simulator.errors import Unauthorized


class Tokens:
    """Issues and checks tokens; `clock` returns seconds and must be monotonic."""

    def __init__(self, lifetime_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.lifetime_s = lifetime_s
        self._clock = clock
        self._lock = threading.Lock()
        self._ends: dict[str, float] = {}
        self._scopes: dict[str, frozenset[str]] = {}

    def issue(self, *scope: str) -> str:
        """Return a new token, valid for `lifetime_s` from now; `scope` limits it to an app and slides, if given."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._ends[token] = self._clock() + self.lifetime_s
            if scope:
                self._scopes[token] = frozenset(scope)
        return token

    def check(self, authorization: str | None, *names: str) -> None:
        """Check the value of an Authorization header; raises Unauthorized with the reason.

        `names` are the ids of the app and the slide in the call's path, as far as it contains them.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthorized("The call has no bearer token.")
        with self._lock:
            end = self._ends.get(token.strip())
            scope = self._scopes.get(token.strip())
        if end is None:
            raise Unauthorized("The bearer token is unknown.")
        if self._clock() >= end:
            raise Unauthorized("The bearer token has expired.")
        if scope is not None and not scope.issuperset(names):
            raise Unauthorized("The bearer token is for another app or slide.")

    def expire_all(self) -> int:
        """Expire all tokens issued so far; returns how many were still valid."""
        with self._lock:
            now = self._clock()
            alive = sum(end > now for end in self._ends.values())
            self._ends = dict.fromkeys(self._ends, now)
        return alive
