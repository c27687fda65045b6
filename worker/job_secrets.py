"""The secrets of the job at work: the newest request's, as long as its system accepts one."""

from __future__ import annotations

import threading

import structlog

from slidehook.errors import AccessExpired
from slidehook.jobs.contract import Claim
from slidehook.systems import Secrets
from worker.shutdown import Interruption

log = structlog.get_logger()


class JobSecrets:
    """The secrets of one claimed job, newest request's first. See `slidehook.systems.Secrets`."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._lock = threading.Lock()
        self._refused: set[str] = set()
        self._newest = claim.secret()
        self._closed = False

    def secret(self) -> str:
        """Return the secret for the next call; raises AccessExpired when there is none."""
        with self._lock:
            if self._newest is None and not self._closed:
                self._newest = self._untried()  # it may have come since, as with a cancel
            if self._newest is None:
                raise AccessExpired("the job has no access token any more")
            return self._newest

    def instead_of(self, refused: str) -> str | None:
        """Return a newer request's secret in place of one that was just refused; None when there is none."""
        with self._lock:
            self._refused.add(refused)
            if self._closed:
                return None
            self._newest = self._untried()
            if self._newest is not None:
                log.info("a newer request's token is used")
            return self._newest

    def close(self) -> bool:
        """Return whether a request's secret is left that was not refused; afterwards no other one is returned.

        Call it before the job is parked. Any thread may have read the newest secret for the claim; a secret that
        comes after this call is newer than all that were read.
        """
        with self._lock:
            self._closed = True
            return self._untried() is not None

    def _untried(self) -> str | None:
        newest = self._claim.secret()
        return None if newest in self._refused else newest


class InterruptibleSecrets:
    """Secrets for the main thread: a fetch of a new one is abandoned if the job or the worker is to stop."""

    def __init__(self, secrets: Secrets, leaving: Interruption) -> None:
        self._secrets = secrets
        self._leaving = leaving

    def secret(self) -> str:
        """Return the secret for the next call; raises what the secrets and `Interruption.run` raise."""
        return self._leaving.run(self._secrets.secret)

    def instead_of(self, refused: str) -> str | None:
        """Return another secret than the `refused` one; None when there is none. Raises as `secret` does."""
        return self._leaving.run(lambda: self._secrets.instead_of(refused))
