"""URLs of this webserver: normalization of paths, and the base URL as seen by a caller."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask import Request
from werkzeug.exceptions import NotFound

from slidehook.errors import BadRequest

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

NO_HOST = "The request's Host header has no valid host; an example is analysis.hospital:5006."
MAX_HOST_CHARACTERS = 253
_HOST = re.compile(
    r"(?P<name>[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?"
)
_SLASHES = re.compile("/{2,}")
_ENCODED_SLASH = re.compile("%2f", re.IGNORECASE)


class NormalizedPaths:
    """A WSGI application around `site` that treats `R/`, `R//info` and `R/info/` as `R`, `R/info` and `R/info`.

    It does not redirect, because DPAT, like many clients, does not repeat a POST at another URL.
    """

    def __init__(self, site: WSGIApplication) -> None:
        self._site = site

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        environ["PATH_INFO"] = _SLASHES.sub("/", environ.get("PATH_INFO", "")).rstrip("/") or "/"
        return self._site(environ, start_response)


def refuse_encoded_slash(request: Request) -> None:
    """Raise NotFound for a path with `%2F`: such a slash is part of a name, and no name here contains one."""
    path = str(request.environ.get("RAW_URI", "")).partition("?")[0]
    if _ENCODED_SLASH.search(path):
        raise NotFound


def site_url(request: Request) -> str:
    """Return the webserver's URL as used by the caller, without a trailing slash.

    Raises BadRequest when the `Host` header (or a trusted proxy's `X-Forwarded-Host`) is missing or invalid.
    """
    if not has_valid_host(request):
        raise BadRequest(NO_HOST)
    return f"{request.scheme}://{_host(request)}"


def has_valid_host(request: Request) -> bool:
    """Whether the request's `Host` header is a valid host, with or without a port."""
    found = _HOST.fullmatch(_host(request))
    if found is None or len(found["name"]) > MAX_HOST_CHARACTERS:
        return False
    if found["port"] is not None and not 0 < int(found["port"]) < 2**16:
        return False
    if not found["name"].startswith("["):
        return True
    try:
        ipaddress.IPv6Address(found["name"][1:-1])
    except ValueError:
        return False
    return True


def _host(request: Request) -> str:
    return str(request.environ.get("HTTP_HOST", ""))
