"""HTTP to one DPAT server: connections, the server's known properties, and errors from statuses."""

from __future__ import annotations

import math
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import requests
import urllib3
from pydantic import TypeAdapter, ValidationError
from requests.auth import AuthBase

from slidehook.dpat.errors import (
    Conflict,
    DpatError,
    DpatNotReached,
    DpatRefused,
    DpatTimeout,
    DpatUnavailable,
    Malformed,
    NotFound,
    NotFromDpat,
    TokenExpired,
)
from slidehook.dpat.iaapi.deadline import DeadlineAdapter, ResponseTooLarge, call_limits
from slidehook.dpat.iaapi.framing import content_length, describe_call, is_encoded
from slidehook.dpat.iaapi.proxies import (
    PROXY_AUTHENTICATION,
    is_from_proxy,
    is_html,
    proxies_for,
    proxy_address,
    proxy_product,
)
from slidehook.dpat.iaapi.put_only_servers import PutOnlyServer
from slidehook.dpat.iaapi.response_limits import HEAD_BYTES, MAX_VALUES, PAGE_BYTES, max_response_bytes
from slidehook.dpat.iaapi.retry import RetryPolicy, parse_retry_after
from slidehook.dpat.iaapi.versions import API_VERSION, OLDEST_VERSION, VERSION_HEADER, is_version, lower_version
from slidehook.errors import BadRequest
from slidehook.models.first_fault import first_fault
from slidehook.models.reading import read_leniently
from slidehook.settings import Settings

CONNECTIONS = 64
MAX_RESPONSE_S = 300.0
"""The time limit of any complete answer but a slide's files, in seconds; `READ_TIMEOUT` applies if it is longer."""
_STATUS_ERRORS: dict[int, type[DpatError]] = {
    401: TokenExpired,
    403: TokenExpired,
    404: NotFound,
    408: DpatUnavailable,
    409: Conflict,
    429: DpatUnavailable,
    501: DpatRefused,
    505: DpatRefused,
}
"""Any other 4xx is DpatRefused. Any other 5xx is DpatUnavailable, even 500: a server that is overloaded or restarting
returns it as readily as 503, and every call but a POST may be repeated."""
_T = TypeVar("_T")


class Bearer(AuthBase):
    """Sets the Authorization header itself, so that no `.netrc` on the host replaces it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request with the token."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Adapter(DeadlineAdapter):
    """The adapter for one server; `proxy` is the proxy's address without its password, or None."""

    proxy: str | None = None


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return None: for a redirect, requests would read the whole body although it is not followed."""
        return None


def _session(proxies: dict[str, str]) -> requests.Session:
    session = _Session()
    # Otherwise the host's proxy variables and .netrc would apply.
    session.trust_env = False
    session.proxies.update(proxies)
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = _Adapter(pool_connections=1, pool_maxsize=CONNECTIONS)
    adapter.proxy = proxy_address(proxies)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


class HttpTransport:
    """The connections to one server. Thread-safe; keeps no cookies, which would mix sessions of different jobs."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url
        self.version = OLDEST_VERSION
        """The version in use: the lower of ours and the server's latest."""
        self.version_is_known = False
        """Whether the server has stated its version."""
        self.put_only = PutOnlyServer(url, settings.data_dir)
        """Whether the server accepts updates of results by PUT only."""
        self._proxies = proxies_for(url, settings.dpat_proxy)
        self.session = _session(self._proxies)
        self._connect_timeout_s = settings.connect_timeout.total_seconds()
        self.read_timeout_s = settings.read_timeout.total_seconds()
        """The longest silence of the server before a call times out."""
        self._verify = None if settings.dpat_ca_bundle is None else str(settings.dpat_ca_bundle)

    def assume_version(self, version: str | None) -> None:
        """Use the version from an incoming request of this server until the server's own answer states one."""
        if not self.version_is_known and is_version(version):
            self.version = lower_version(API_VERSION, version)

    def note_version(self, version: str | None) -> None:
        """Store the version that the server stated; an unreadable one is ignored."""
        if is_version(version):
            self.version = lower_version(API_VERSION, version)
            self.version_is_known = True

    def replace_connections(self) -> None:
        """Stop using all connections opened so far."""
        # They are not closed: an interrupted call may have left their pool locked.
        self.session = _session(self._proxies)

    def request(
        self,
        method: str,
        path: str,
        auth: AuthBase,
        *,
        left_s: float = math.inf,
        stream: bool = False,
        max_bytes: int | None = None,
        **options: Any,
    ) -> requests.Response:
        """Make one call and return its answer, whatever its status; all of it must arrive within `left_s` seconds.

        `max_bytes` limits the body's size; the default comes from `max_response_bytes`. An error's body is dropped.
        With `stream` both limits apply to the headers only: the caller reads the body, for as long as bytes arrive.
        Raises DpatNotReached, DpatTimeout or DpatUnavailable when no answer arrives, Malformed when it is too long,
        DpatRefused when the server's certificate is not trusted.
        """
        if left_s <= 0:
            raise DpatTimeout("DPAT did not answer in time.")
        connect_s, read_s = self._connect_timeout_s, self.read_timeout_s
        left_s = min(left_s, max(MAX_RESPONSE_S, read_s))
        headers = {VERSION_HEADER: self.version, "Accept-Encoding": "identity", **options.pop("headers", {})}
        max_bytes = max_response_bytes(path) if max_bytes is None else max_bytes
        try:
            with call_limits(time.monotonic() + left_s, head_only=stream, max_bytes=max_bytes + HEAD_BYTES):
                response = self.session.request(
                    method,
                    self.url + path,
                    auth=auth,
                    headers=headers,
                    timeout=(min(connect_s, left_s), read_s if stream else min(read_s, left_s)),
                    verify=self._verify,
                    allow_redirects=False,
                    stream=True,
                    **options,
                )
                if not stream:
                    _read_body(response, max_bytes)
        except (requests.RequestException, OSError, ResponseTooLarge) as error:
            if any(isinstance(each, ResponseTooLarge) for each in _causes(error)):
                raise Malformed("DPAT's answer is longer than the limit for this call.") from error
            # An OSError means that the CA bundle is gone or contains no certificate.
            raise _translate(error, proxy_address(self._proxies)) from error
        self.note_version(response.headers.get(VERSION_HEADER))  # a proxy's own error page states none
        return response


def _read_body(response: requests.Response, max_bytes: int) -> None:
    """Read the body of a success; read only a short body of an error, and close the connection of a longer one."""
    if 200 <= response.status_code < 300:
        if (content_length(response.headers.get("Content-Length")) or 0) > max_bytes:
            response.close()
            raise ResponseTooLarge("the announced length exceeds the limit")
        response.content  # noqa: B018 - reads it
        return
    with suppress(urllib3.exceptions.HTTPError):
        response.raw.read(PAGE_BYTES, decode_content=False)
    response.close()


def _translate(error: Exception, proxy: str | None) -> DpatError:
    causes = list(_causes(error))
    if proxy is not None and isinstance(error, requests.exceptions.ProxyError):
        return _proxy_error(error, proxy)
    if isinstance(error, requests.exceptions.SSLError):
        return _tls_error(causes)
    not_connected = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
    if any(isinstance(each, not_connected) for each in causes):
        return DpatNotReached(_not_reached(proxy))
    if isinstance(error, requests.Timeout) or "timed out" in str(error):  # the text: an answer stopped halfway
        return DpatTimeout("DPAT did not answer in time.")
    if isinstance(error, requests.RequestException):
        return _header_error(causes) if isinstance(error, ValueError) else DpatUnavailable(_not_reached(proxy))
    return DpatRefused("The certificates in SLIDEHOOK_DPAT_CA_BUNDLE can't be read.")


def _not_reached(proxy: str | None) -> str:
    via = f" through the proxy {proxy} (SLIDEHOOK_DPAT_PROXY)" if proxy else ""
    return f"DPAT can't be reached{via}."


def _proxy_error(error: Exception, proxy: str) -> DpatNotReached:
    refusal = re.search(r"Tunnel connection failed: (\d{3})", str(error))
    if refusal is None:
        return DpatNotReached(f"The proxy {proxy} (SLIDEHOOK_DPAT_PROXY) can't be reached.")
    reason = " (user or password)" if int(refusal[1]) == PROXY_AUTHENTICATION else ""
    return DpatNotReached(
        f"The proxy {proxy} (SLIDEHOOK_DPAT_PROXY) lets no call through to DPAT: it answered {refusal[1]}{reason}."
    )


def _header_error(causes: list[BaseException]) -> DpatError:
    if any(isinstance(each, urllib3.exceptions.InvalidHeader) for each in causes):
        return DpatUnavailable("DPAT's answer has two different lengths.")
    return DpatRefused("DPAT's callback URL can't be called.")


def _tls_error(causes: list[BaseException]) -> DpatError:
    untrusted = next((each for each in causes if isinstance(each, ssl.SSLCertVerificationError)), None)
    if untrusted is not None:
        why = untrusted.verify_message.rstrip(".")
        return DpatRefused(f"DPAT's certificate is not trusted here ({why}): see SLIDEHOOK_DPAT_CA_BUNDLE.")
    if any(isinstance(each, ssl.SSLEOFError | ssl.SSLZeroReturnError) for each in causes):
        return DpatUnavailable("DPAT can't be reached.")  # the connection was lost during the handshake
    return DpatRefused("TLS with DPAT failed, or SLIDEHOOK_DPAT_CA_BUNDLE contains no certificates.")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and all errors wrapped in it; urllib3 and requests store these in different places."""
    seen: set[int] = set()
    pending: list[object] = [error]
    while pending:
        each = pending.pop()
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            pending += [*each.args, getattr(each, "reason", None), each.__cause__, each.__context__]


class ApiCalls:
    """Calls to one server with one token, or as one user."""

    def __init__(self, transport: HttpTransport, auth: AuthBase, retry_policy: RetryPolicy) -> None:
        self._transport = transport
        self._auth = auth
        self._retry_policy = retry_policy

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Make a call once and return its answer, whatever its status; see `HttpTransport.request`."""
        return self._transport.request(method, path, self._auth, left_s=self._retry_policy.left_s, **options)

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        """Make a call once; returns the answer if its status is a success, else raises."""
        return raise_for_status(self.request(method, path, **options))

    def send_with_retries(self, method: str, path: str, **options: Any) -> requests.Response:
        """Make a repeatable call, with retries as the policy allows."""
        return self._retry_policy.call(self.send, method, path, **options)

    def get(self, path: str, query: dict[str, str] | None = None, max_bytes: int | None = None) -> requests.Response:
        """Make a GET call, with retries."""
        return self.send_with_retries("GET", path, params=query, max_bytes=max_bytes)


def raise_for_status(response: requests.Response) -> requests.Response:
    """Return an answer with a success status; raises the matching DpatError for any other."""
    status = response.status_code
    if 200 <= status < 300:
        if status != HTTPStatus.NO_CONTENT and is_html(response):
            with response:
                call = describe_call(response)
                raise NotFromDpat(f"An HTML page came instead of DPAT's answer to {call}{_proxy_hint(response)}.")
        if status != HTTPStatus.NO_CONTENT and is_encoded(response.headers):
            with response:
                raise Malformed(
                    f"DPAT's answer to {describe_call(response)} is compressed, which DPAT was not asked for."
                )
        return response
    with response:
        if 300 <= status < 400:
            raise DpatRefused(f"DPAT answered {status}, a redirect, which is not followed.")
        error = _refusal(response)
        if isinstance(error, DpatUnavailable):
            error.retry_after_s = parse_retry_after(response.headers.get("Retry-After"), response.headers.get("Date"))
        raise error


def _refusal(response: requests.Response) -> DpatError:
    status, call = response.status_code, describe_call(response)
    if is_from_proxy(response):
        return NotFromDpat(f"A proxy{_proxy_hint(response)} answered {status} in DPAT's place to {call}.")
    kind = _STATUS_ERRORS.get(status) or (DpatUnavailable if status >= 500 else DpatRefused)
    return kind(f"DPAT answered {status} to {call}.")


def _proxy_hint(response: requests.Response) -> str:
    """Describe the proxy that the call went through, as far as known and without its password."""
    product = proxy_product(response)
    kind = f" ({product})" if product else ""
    proxy = getattr(getattr(response, "connection", None), "proxy", None)
    if proxy:
        return f"{kind} at or behind {proxy} (SLIDEHOOK_DPAT_PROXY)"
    if not is_from_proxy(response):
        return kind
    url = urlsplit(response.request.url or "")
    return f"{kind} between here and {url.scheme}://{url.netloc}"


def read(adapter: TypeAdapter[_T], response: requests.Response, what: str) -> _T:
    """Parse an answer's JSON; raises Malformed when it is not the record named by `what`."""
    if response.content.count(b",") > MAX_VALUES:
        raise Malformed(f"DPAT's answer contains more values than allowed for {what}.")
    try:
        return read_leniently(adapter.validate_json, response.content, what)
    except ValidationError as error:
        raise Malformed(f"DPAT's answer is not {what}: {first_fault(error)}.") from error


def path_segment(text: str) -> str:
    """Encode any text as one segment of a URL path.

    Raises BadRequest on `.` and `..`: requests would resolve them even if encoded.
    """
    if text in {".", ".."}:
        raise BadRequest(f"{text!r} can't be an id.")
    return quote(text, safe="")
