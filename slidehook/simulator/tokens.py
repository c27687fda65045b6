"""The bearer tokens that a simulator has given, and until when it takes them."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable

from slidehook.simulator.errors import Unauthorized


class Tokens:
    """Gives tokens and checks them; `clock` gives seconds and never runs backwards."""

    def __init__(self, lifetime_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.lifetime_s = lifetime_s
        self._clock = clock
        self._lock = threading.Lock()
        self._ends: dict[str, float] = {}
        self._scopes: dict[str, frozenset[str]] = {}

    def give(self, *scope: str) -> str:
        """Give a fresh token, good for `lifetime_s` from now, for the app and slide of `scope`; none: for all."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._ends[token] = self._clock() + self.lifetime_s
            if scope:
                self._scopes[token] = frozenset(scope)
        return token

    def check(self, authorization: str | None, *names: str) -> None:
        """Take the value of an Authorization header; raises Unauthorized with the reason.

        `names` are the app and the slide that the call is about, as far as its address names them.
        """
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthorized("The call bears no bearer token.")
        with self._lock:
            end = self._ends.get(token.strip())
            scope = self._scopes.get(token.strip())
        if end is None:
            raise Unauthorized("The bearer token is not known.")
        if self._clock() >= end:
            raise Unauthorized("The bearer token has expired.")
        if scope is not None and not scope.issuperset(names):
            raise Unauthorized("The bearer token is for another app or slide.")

    def expire_all(self) -> int:
        """Let all tokens given so far expire, and give their number."""
        with self._lock:
            now = self._clock()
            alive = sum(end > now for end in self._ends.values())
            self._ends = dict.fromkeys(self._ends, now)
        return alive
