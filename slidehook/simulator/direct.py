"""HTTP calls to the apps without any proxy, as DPAT makes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests


def call(
    method: str, url: str, *, headers: Mapping[str, str], timeout_s: float, body: Any = None
) -> requests.Response:
    """Make one call with `body` as JSON, ignoring the environment's proxies; raises the errors of requests."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, headers=dict(headers), timeout=timeout_s, json=body)
