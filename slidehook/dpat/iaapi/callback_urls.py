"""Decides which callback URLs may be called: nobody can make slidehook call a server that the site did not name."""

from __future__ import annotations

import ipaddress
import posixpath
import re
import string
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from slidehook.errors import CallbackNotAllowed
from slidehook.terminal import plain

_PORTS = {"http": 80, "https": 443}
_HIDDEN = re.compile(r"%(?:2[ef5]|5c|[01][0-9a-f]|7f)", re.IGNORECASE)
"""A dot, slash, percent sign, backslash or control character, encoded: servers differ in what they make of it."""

LOGGED_CHARACTERS = 300
_ACCOUNT = re.compile(r"[/\\]{2}.*@", re.DOTALL)
_AFTER_PATH = re.compile(r"[?#].*", re.DOTALL)
_ENCODED = re.compile("%([0-9a-fA-F]{2})")
_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")


@dataclass(frozen=True)
class _Address:
    scheme: str
    host: str
    port: int
    path: str


def check_callback(url: str, prefixes: tuple[str, ...]) -> str:
    """Give `url` in its one spelling, without a trailing slash, when it may be called, else raise CallbackNotAllowed.

    Scheme and host are in small letters, the scheme's own port is left out, so are empty and `.` parts of the path,
    and only what must be percent-encoded is (RFC 3986, section 6.2.2). Equal work is known by that.
    It must lie below one of `prefixes`, by scheme, host, port and whole parts of its path; where there are no
    prefixes, any loopback address may be called. What servers or clients may read in two ways is refused.
    """
    try:
        address = _read(url)
        below = any(_below(address, _read(prefix)) for prefix in prefixes)
        if not (below if prefixes else is_loopback(address.host)):
            raise CallbackNotAllowed("The callback URL is not one that SLIDEHOOK_DPAT_URLS allows.")
    except CallbackNotAllowed as error:
        error.url = url_for_log(url)
        raise
    return _spelled(address, urlsplit(url).path)


def url_for_log(url: str) -> str:
    """Give what a log may show of a URL that anybody may have sent: no account, no query, no control character."""
    shown = _AFTER_PATH.sub("?…", _ACCOUNT.sub("//…@", url))
    shown = shown if len(shown) <= LOGGED_CHARACTERS else f"{shown[:LOGGED_CHARACTERS]}…"
    return plain(shown)


def _spelled(address: _Address, path: str) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    port = "" if address.port == _PORTS[address.scheme] else f":{address.port}"
    # What is reserved stays as it came: to a server, %3B may be another thing than a semicolon.
    encoded = quote(_ENCODED.sub(_plain_if_unreserved, path), safe="/%!$&'()*+,;=:@", errors="replace")
    normal = posixpath.normpath("/" + encoded.lstrip("/")).rstrip("/")
    return f"{address.scheme}://{host}{port}{normal}"


def _plain_if_unreserved(encoded: re.Match[str]) -> str:
    plain = chr(int(encoded[1], 16))
    return plain if plain in _UNRESERVED else encoded[0].upper()


def is_prefix(url: str) -> bool:
    """Say whether `url` can be one of the prefixes."""
    try:
        _read(url)
    except CallbackNotAllowed:
        return False
    return True


def _read(url: str) -> _Address:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise CallbackNotAllowed("The callback URL is not a URL.") from error
    odd = "\\" in url or "%" in parts.netloc or any(ord(each) <= 32 or ord(each) == 127 for each in url)
    # A host that is not plain ASCII has several spellings (xn--…), and which one is called is the client's affair.
    if odd or parts.scheme not in _PORTS or not parts.hostname or not parts.netloc.isascii():
        raise CallbackNotAllowed("The callback URL is not an http or https URL.")
    if parts.username is not None or parts.password is not None or "?" in url or "#" in url:
        raise CallbackNotAllowed("The callback URL must have no user, query or fragment.")
    # Some servers take "..;x" for "..".
    if any(each.partition(";")[0] == ".." for each in parts.path.split("/")) or _HIDDEN.search(parts.path):
        raise CallbackNotAllowed("The callback URL must not climb with '..', nor hide a dot or a slash.")
    normal = posixpath.normpath("/" + unquote(parts.path).lstrip("/")).rstrip("/")
    return _Address(parts.scheme, parts.hostname, _PORTS[parts.scheme] if port is None else port, normal)


def _below(address: _Address, prefix: _Address) -> bool:
    same = (address.scheme, address.host, address.port) == (prefix.scheme, prefix.host, prefix.port)
    return same and (address.path + "/").startswith(prefix.path + "/")


def is_loopback(host: str) -> bool:
    """Say whether a host's name or address is this host's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
