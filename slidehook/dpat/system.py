"""DPAT as a system that slides come from and results go to."""

from __future__ import annotations

import math
import time
from functools import partial

from slidehook.app import App
from slidehook.dpat.destination import DpatDestination
from slidehook.dpat.iaapi.client import DpatClient, DpatServers
from slidehook.dpat.iaapi.models import Token
from slidehook.dpat.origin import DpatOrigin
from slidehook.dpat.tokens import CheckedSecrets, ServiceAccount, WithAccount
from slidehook.settings import Settings
from slidehook.systems import Access, OriginTicket, Pause, Secrets, Work

TRIES = 6
"""How often a call to DPAT is tried before it fails."""


class DpatSystem:
    """The DPATs that this process calls; the address of a job is its callback URL. See `slidehook.systems.System`."""

    name = "dpat"

    def __init__(self, settings: Settings, pause: Pause = time.sleep) -> None:
        self._settings = settings
        self._pause = pause
        self._servers = DpatServers(settings)
        self._account = service_account(settings, self._servers, sleep=pause)

    def origin(self, ticket: OriginTicket, access: Access) -> DpatOrigin:
        """Return the slide at DPAT; DPAT is not called yet."""
        secrets = self._secrets(ticket.address, ticket.app_id, access)
        client = self._client(ticket.address, secrets, math.inf)
        return DpatOrigin(client, ticket, secrets, include_phi=self._settings.store_phi)

    def destination(self, address: str, work: Work, app: App, access: Access) -> DpatDestination:
        """Return the job's result at DPAT; DPAT is not called yet."""
        client = partial(self._client, address, self._secrets(address, work.app_id, access))
        return DpatDestination(work, app, client(math.inf), client)

    def _secrets(self, url: str, app_id: str, access: Access) -> Secrets:
        secrets: Secrets = access.secrets
        if self._account is not None:
            secrets = WithAccount(secrets, self._account, url, app_id)
        return CheckedSecrets(secrets, access.check)

    def _client(self, url: str, secrets: Secrets, within_s: float) -> DpatClient:
        """Return a client whose time, `within_s` seconds, begins now."""
        return self._servers.at(url).client(secrets, tries=TRIES, within_s=within_s, sleep=self._pause)


def service_account(settings: Settings, servers: DpatServers, *, sleep: Pause = time.sleep) -> ServiceAccount | None:
    """Return the site's service account; None where it has none. `sleep` waits between two tries to fetch a token."""
    user, password = settings.dpat_user, settings.dpat_password
    if user is None or password is None:
        return None

    def fetch(url: str, app_id: str) -> Token:
        return servers.at(url).fetch_token(user, password.get_secret_value(), app_id, sleep=sleep)

    return ServiceAccount(fetch)
