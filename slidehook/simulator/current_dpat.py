"""Helpers for the views: the simulated DPAT of the current Flask app, and checks of its version."""

from __future__ import annotations

from flask import current_app

from slidehook.simulator.dpat import Dpat
from slidehook.simulator.errors import NotFound


def current_dpat() -> Dpat:
    """Return the DPAT of the current Flask app."""
    dpat: Dpat = current_app.extensions["dpat"]
    return dpat


def require_version(version: str) -> None:
    """Raise NotFound if the simulated IA-API is older than `version`."""
    if not current_dpat().options.has(version):
        raise NotFound(f"This call exists since version {version} of the IA-API.")
