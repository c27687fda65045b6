"""Proxies in front of DPAT: which one to use, and how to recognize an answer that came from a proxy."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import SecretStr
from requests import Response

from slidehook.callback_urls import is_loopback
from slidehook.dpat.iaapi.versions import VERSION_HEADER

PROXY_AUTHENTICATION = 407
TOKEN_STATUSES = frozenset({401, 403})
DECISIVE_STATUSES = TOKEN_STATUSES | {404}
"""Statuses that end or park a job, and therefore count only when DPAT itself sent them."""
UNAVAILABLE_STATUSES = frozenset({500, 502, 503, 504})
_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_PRODUCTS = {
    "squid": "Squid",
    "bluecoat": "Blue Coat",
    "proxysg": "ProxySG",
    "zscaler": "Zscaler",
    "mwg": "McAfee Web Gateway",
    "fortigate": "FortiGate",
    "fortiweb": "FortiWeb",
    "sophos": "Sophos",
    "bigip": "BIG-IP",
    "big-ip": "BIG-IP",
    "haproxy": "HAProxy",
    "privoxy": "Privoxy",
    "tinyproxy": "Tinyproxy",
    "mitmproxy": "mitmproxy",
}
"""Lower-case markers in a proxy's `Server` or `Via` header, and the product's name."""


def proxies_for(url: str, proxy: SecretStr | None) -> dict[str, str]:
    """Return the `proxies` of a requests session for `url`: the configured one, and none for loopback."""
    if proxy is None or is_loopback(urlsplit(url).hostname or ""):
        return {}
    return dict.fromkeys(("http", "https"), proxy.get_secret_value())


def proxy_address(proxies: dict[str, str]) -> str | None:
    """Return the proxy's URL without user and password, or None without a proxy."""
    if not proxies:
        return None
    parts = urlsplit(proxies["http"])
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def is_html(response: Response) -> bool:
    """Whether an answer is an HTML page. The IA-API never returns one."""
    return _content_type(response) in _HTML_TYPES


def is_from_proxy(response: Response) -> bool:
    """Whether a proxy sent this answer. Such an answer proves nothing about the token or about DPAT's data.

    407 always comes from a proxy. 401, 403 and 404 do when the body is an HTML page, or when the answer has a proxy's
    marks and neither DPAT's version nor JSON. 500 and 502 to 504 do only with such marks. A Bearer challenge always
    concerns the token, whoever sent it.
    """
    status = response.status_code
    if status == PROXY_AUTHENTICATION:
        return True
    if status not in DECISIVE_STATUSES | UNAVAILABLE_STATUSES or _has_bearer_challenge(response):
        return False
    if status in TOKEN_STATUSES and is_html(response):
        return True
    if VERSION_HEADER in response.headers or _content_type(response).endswith("json"):
        return False
    return _has_proxy_marks(response) or (status in DECISIVE_STATUSES and is_html(response))


def _has_proxy_marks(response: Response) -> bool:
    marks = ("Proxy-Authenticate", "Proxy-Status", "X-Squid-Error", "Via")
    return any(name in response.headers for name in marks) or proxy_product(response) is not None


def refuses_token(response: Response) -> bool:
    """Whether DPAT rejected the call's token."""
    return response.status_code in TOKEN_STATUSES and not is_from_proxy(response)


def proxy_product(response: Response) -> str | None:
    """Return the product name of the proxy that answered, or None. The text is ours, never copied from the answer."""
    headers = " ".join(response.headers.get(name, "") for name in ("Server", "Via", "X-Squid-Error")).lower()
    if "X-Squid-Error" in response.headers:
        return "Squid"
    return next((name for word, name in _PRODUCTS.items() if word in headers), None)


def _content_type(response: Response) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _has_bearer_challenge(response: Response) -> bool:
    return response.headers.get("WWW-Authenticate", "").strip().lower().startswith("bearer")
