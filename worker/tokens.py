"""The tokens of the job at work: a request's, as long as there is one that DPAT takes, then the service account's."""

from __future__ import annotations

import threading

import structlog

from slidehook.dpat.errors import TokenExpired
from slidehook.dpat.tokens import ServiceAccount
from slidehook.jobs.contract import Claim
from worker.shutdown import Interruption

log = structlog.get_logger()


class JobTokens:
    """The tokens of one claimed job, newest request's first. See `slidehook.systems.Secrets`."""

    def __init__(self, claim: Claim, account: ServiceAccount | None) -> None:
        self._claim = claim
        self._account = account
        self._lock = threading.Lock()
        self._refused: set[str] = set()
        self._requests = claim.secret()
        self._closed = False

    def secret(self) -> str:
        """Give the token for the next call; raises TokenExpired when there is none, ClaimLost, DpatUnavailable."""
        with self._lock:
            if self._requests is None and not self._closed:
                self._requests = self._untried()  # it may have come since, as with a cancel
            requests = self._requests
        token = requests or self._accounts()
        if token is None:
            raise TokenExpired("the job has no access token any more")
        return token

    def instead_of(self, refused: str) -> str | None:
        """Give another token than one that DPAT has just refused; None when there is none."""
        with self._lock:
            self._refused.add(refused)
            if self._closed:
                return None
            self._requests = self._untried()
            if self._requests is not None:
                log.info("a newer request's token is used")
                return self._requests
        return self._accounts(refused)

    def close(self) -> bool:
        """Say whether there is a request's token that DPAT has not refused; afterwards no other one is given.

        Any thread may have read the newest token. So whoever parks the job asks here first, and what comes later is
        newer than all that the claim was asked for.
        """
        with self._lock:
            self._closed = True
            return self._untried() is not None

    def _untried(self) -> str | None:
        newest = self._claim.secret()
        return None if newest in self._refused else newest

    # Without the lock: it may take long, and whoever has a request's token need not wait for it.
    def _accounts(self, refused: str | None = None) -> str | None:
        if self._account is None:
            return None
        return self._account.token(self._claim.job.address, self._claim.job.app_id, refused=refused)


class ProvenTokens:
    """The tokens for what changes the slide: each call first proves that the claim is still this worker's own."""

    def __init__(self, tokens: JobTokens, claim: Claim) -> None:
        self._tokens = tokens
        self._claim = claim

    def secret(self) -> str:
        """Give the token for the next call; raises ClaimLost, and what JobTokens raises."""
        self._claim.check()
        return self._tokens.secret()

    def instead_of(self, refused: str) -> str | None:
        """Return another token than the `refused` one; None when there is none. Raises as `secret` does."""
        other = self._tokens.instead_of(refused)
        self._claim.check()
        return other


class InterruptibleTokens:
    """The tokens for the main thread where nothing else may be interrupted: no fetch of one delays a job's stop."""

    def __init__(self, tokens: JobTokens, leaving: Interruption) -> None:
        self._tokens = tokens
        self._leaving = leaving

    def secret(self) -> str:
        """Give the token for the next call; raises what JobTokens and `Interruption.check` raise."""
        return self._leaving.run(self._tokens.secret)

    def instead_of(self, refused: str) -> str | None:
        """Return another token than the `refused` one; None when there is none. Raises as `secret` does."""
        return self._leaving.run(lambda: self._tokens.instead_of(refused))
