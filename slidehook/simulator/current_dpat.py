"""What the views ask for first: the DPAT that the running Flask app plays, and its version."""

from __future__ import annotations

from flask import current_app

from slidehook.simulator.dpat import Dpat
from slidehook.simulator.errors import NotFound


def the_dpat() -> Dpat:
    """Give the DPAT that the app in use was made for."""
    dpat: Dpat = current_app.extensions["dpat"]
    return dpat


def since(version: str) -> None:
    """Raise NotFound when the IA-API played here is older than `version`."""
    if not the_dpat().options.has(version):
        raise NotFound(f"This call came with version {version} of the IA-API.")
