"""Checks callback URLs: slidehook calls only the servers that the site has allowed."""

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
_ENCODED_SPECIALS = re.compile(r"%(?:2[ef5]|5c|[01][0-9a-f]|7f)", re.IGNORECASE)
"""An encoded dot, slash, percent sign, backslash or control character: servers interpret these differently."""

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
    """Return `url` normalized and without a trailing slash; raises CallbackNotAllowed when it may not be called.

    Scheme and host become lower case. The scheme's default port and empty and `.` path segments are removed. Only
    characters that need it stay percent-encoded (RFC 3986, section 6.2.2). Equal jobs are recognized by this URL.
    `url` must lie below one of `prefixes` by scheme, host, port and whole path segments. Without prefixes, any
    loopback address is allowed. URLs that servers or clients may interpret in two ways are refused.
    """
    try:
        address = _parse(url)
        is_listed = any(_is_below(address, _parse(prefix)) for prefix in prefixes)
        if not (is_listed if prefixes else is_loopback(address.host)):
            raise CallbackNotAllowed("The callback URL is not allowed by SLIDEHOOK_DPAT_URLS.")
    except CallbackNotAllowed as error:
        error.url = url_for_log(url)
        raise
    return _normalized(address, urlsplit(url).path)


def url_for_log(url: str) -> str:
    """Return an untrusted URL in a form fit for logs: without account, query and control characters."""
    shown = _AFTER_PATH.sub("?…", _ACCOUNT.sub("//…@", url))
    shown = shown if len(shown) <= LOGGED_CHARACTERS else f"{shown[:LOGGED_CHARACTERS]}…"
    return plain(shown)


def _normalized(address: _Address, path: str) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    port = "" if address.port == _PORTS[address.scheme] else f":{address.port}"
    # Reserved characters stay as sent: to a server, %3B may differ from a semicolon.
    encoded = quote(_ENCODED.sub(_decode_if_unreserved, path), safe="/%!$&'()*+,;=:@", errors="replace")
    normal = posixpath.normpath("/" + encoded.lstrip("/")).rstrip("/")
    return f"{address.scheme}://{host}{port}{normal}"


def _decode_if_unreserved(encoded: re.Match[str]) -> str:
    plain = chr(int(encoded[1], 16))
    return plain if plain in _UNRESERVED else encoded[0].upper()


def is_prefix(url: str) -> bool:
    """Whether `url` is valid as a prefix."""
    try:
        _parse(url)
    except CallbackNotAllowed:
        return False
    return True


def _parse(url: str) -> _Address:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise CallbackNotAllowed("The callback URL is not a URL.") from error
    malformed = "\\" in url or "%" in parts.netloc or any(ord(each) <= 32 or ord(each) == 127 for each in url)
    # A host name that is not ASCII has several spellings (xn--…); the HTTP client would choose which one to call.
    if malformed or parts.scheme not in _PORTS or not parts.hostname or not parts.netloc.isascii():
        raise CallbackNotAllowed("The callback URL is not an http or https URL.")
    if parts.username is not None or parts.password is not None or "?" in url or "#" in url:
        raise CallbackNotAllowed("The callback URL must have no user, query or fragment.")
    # Some servers treat "..;x" as "..".
    if any(each.partition(";")[0] == ".." for each in parts.path.split("/")) or _ENCODED_SPECIALS.search(parts.path):
        raise CallbackNotAllowed("The callback URL must not contain '..' or an encoded dot or slash.")
    normal = posixpath.normpath("/" + unquote(parts.path).lstrip("/")).rstrip("/")
    return _Address(parts.scheme, parts.hostname, _PORTS[parts.scheme] if port is None else port, normal)


def _is_below(address: _Address, prefix: _Address) -> bool:
    same = (address.scheme, address.host, address.port) == (prefix.scheme, prefix.host, prefix.port)
    return same and (address.path + "/").startswith(prefix.path + "/")


def is_loopback(host: str) -> bool:
    """Whether a host name or address is a loopback one."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
