"""Slides at a DPAT that a test runs."""

from __future__ import annotations

from slidehook.dpat.origin import DpatOrigin
from slidehook.dpat.system import DpatSystem
from slidehook.settings import Settings
from slidehook.systems import Access, OneSecret, OriginTicket


def dpat_origin(url: str, token: str, slide_id: str) -> DpatOrigin:
    """The slide as the process of an app opens it."""
    system = DpatSystem(Settings(_env_file=None))
    return system.origin(OriginTicket("dpat", url, slide_id, "an-app"), Access(OneSecret(token)))
