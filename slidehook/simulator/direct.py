"""Calls to the apps, straight to their addresses as DPAT's own are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests


def call(
    method: str, url: str, *, headers: Mapping[str, str], timeout_s: float, body: Any = None
) -> requests.Response:
    """Make one call, `body` as JSON, whatever proxies the environment names; raises what requests raises."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, headers=dict(headers), timeout=timeout_s, json=body)
