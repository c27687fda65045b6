"""Proxies on the way to DPAT: which one is used, and which answers are a proxy's instead of DPAT's."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import SecretStr
from requests import Response

from slidehook.dpat.iaapi.callback_urls import is_loopback
from slidehook.dpat.iaapi.versions import VERSION_HEADER

PROXY_AUTHENTICATION = 407
ABOUT_TOKENS = frozenset({401, 403})
NO_ANSWER_OF_DPAT = ABOUT_TOKENS | {404}
"""Statuses that decide what becomes of a job, so that they count only when DPAT itself has answered."""
DPAT_IS_AWAY = frozenset({500, 502, 503, 504})
_PAGES = frozenset({"text/html", "application/xhtml+xml"})
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
"""What proxies call themselves in `Server` or `Via`, in lower case, and their names."""


def proxies_for(url: str, proxy: SecretStr | None) -> dict[str, str]:
    """Give the proxies with which a session of requests calls `url`: the site's, and none for loopback."""
    if proxy is None or is_loopback(urlsplit(url).hostname or ""):
        return {}
    return dict.fromkeys(("http", "https"), proxy.get_secret_value())


def name_of(proxies: dict[str, str]) -> str | None:
    """Give the proxy's address without its user and password, None where there is no proxy."""
    if not proxies:
        return None
    parts = urlsplit(proxies["http"])
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def is_page(response: Response) -> bool:
    """Say whether an answer is an HTML page, which no answer of the IA-API is."""
    return _kind_of_body(response) in _PAGES


def is_from_proxy(response: Response) -> bool:
    """Say whether a proxy gave this answer, so that it says nothing about a token, nor about what DPAT has.

    407 is always a proxy's. 401, 403 and 404 are when they are an HTML page, or when they bear a proxy's marks and
    neither DPAT's version nor JSON; 500 to 504 only with such marks. A Bearer challenge is about the token, whoever
    sends it.
    """
    status = response.status_code
    if status == PROXY_AUTHENTICATION:
        return True
    if status not in NO_ANSWER_OF_DPAT | DPAT_IS_AWAY or _asks_for_bearer(response):
        return False
    if status in ABOUT_TOKENS and is_page(response):
        return True
    if VERSION_HEADER in response.headers or _kind_of_body(response).endswith("json"):
        return False
    return _bears_marks(response) or (status in NO_ANSWER_OF_DPAT and is_page(response))


def _bears_marks(response: Response) -> bool:
    marks = ("Proxy-Authenticate", "Proxy-Status", "X-Squid-Error", "Via")
    return any(name in response.headers for name in marks) or product_of(response) is not None


def refuses_token(response: Response) -> bool:
    """Say whether DPAT does not take the call's token, or no longer."""
    return response.status_code in ABOUT_TOKENS and not is_from_proxy(response)


def product_of(response: Response) -> str | None:
    """Name the kind of proxy that answered, where it says so; one of our own words, never the answer's."""
    told = " ".join(response.headers.get(name, "") for name in ("Server", "Via", "X-Squid-Error")).lower()
    if "X-Squid-Error" in response.headers:
        return "Squid"
    return next((name for word, name in _PRODUCTS.items() if word in told), None)


def _kind_of_body(response: Response) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _asks_for_bearer(response: Response) -> bool:
    return response.headers.get("WWW-Authenticate", "").strip().lower().startswith("bearer")
