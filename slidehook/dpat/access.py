"""Access to DPAT for what an app asks of it while it analyses."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from slidehook.dpat.iaapi.client import DpatClient, DpatServers
from slidehook.dpat.tokens import TokenSource

TRIES = 4
"""How often a call is tried that can be tried again."""


@dataclass(frozen=True)
class DpatAccess:
    """Where a job's DPAT is, and the token for it, or where tokens come from; `token` is in no `repr`.

    `include_phi` says whether identifying fields may be asked for.
    """

    servers: DpatServers = field(repr=False)
    url: str
    token: str | TokenSource = field(repr=False)
    include_phi: bool = False

    @cached_property
    def client(self) -> DpatClient:
        """The client for the job's DPAT, made when it is first asked for."""
        return self.servers.at(self.url).client(self.token, tries=TRIES)
