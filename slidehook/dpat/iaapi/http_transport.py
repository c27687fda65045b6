"""One DPAT server as HTTP: its connections, what is known of it, and what its answers mean."""

from __future__ import annotations

import math
import re
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import requests
import urllib3
from pydantic import TypeAdapter, ValidationError
from requests.auth import AuthBase

from slidehook.dpat.iaapi.deadline import AnswerTooLong, PunctualAdapter, answered_by
from slidehook.dpat.iaapi.framing import announced_bytes, call_of, is_packed
from slidehook.dpat.iaapi.proxies import (
    PROXY_AUTHENTICATION,
    is_from_proxy,
    is_page,
    name_of,
    product_of,
    proxies_for,
)
from slidehook.dpat.iaapi.put_only_servers import PutServer
from slidehook.dpat.iaapi.response_limits import HEAD_BYTES, MOST_VALUES, PAGE_BYTES, most_answer_bytes
from slidehook.dpat.iaapi.retry import RetryPolicy, asked_wait_s
from slidehook.dpat.iaapi.versions import API_VERSION, FIRST_VERSION, VERSION_HEADER, is_version, lower
from slidehook.errors import (
    BadRequest,
    Conflict,
    DpatError,
    DpatNotReached,
    DpatTimeout,
    DpatUnavailable,
    Malformed,
    NotFound,
    NotFromDpat,
    Refused,
    TokenExpired,
)
from slidehook.models.reading import read_leniently
from slidehook.settings import Settings

CONNECTIONS = 64
ANSWER_MOST_S = 300.0
"""How long any answer but a slide's files may take to be whole, in seconds, or `READ_TIMEOUT` where that is more."""
_STATUS_ERRORS: dict[int, type[DpatError]] = {
    401: TokenExpired,
    403: TokenExpired,
    404: NotFound,
    408: DpatUnavailable,
    409: Conflict,
    429: DpatUnavailable,
    501: Refused,
    505: Refused,
}
"""Any other 4xx is Refused. Any other 5xx is DpatUnavailable, 500 too: a server under load, or being restarted, gives
it as readily as 503, and every call but a POST may be repeated."""
_T = TypeVar("_T")


class Bearer(AuthBase):
    """Sets the token itself, so that no `.netrc` on the host replaces it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Give the request with the token."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Checked(AuthBase):
    """Asks whether a call may be made before it gets its token."""

    def __init__(self, check: Callable[[], None], auth: AuthBase) -> None:
        self._check = check
        self._auth = auth

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Give the request with the token; raises what the check raises."""
        self._check()
        return self._auth(request)


class _Adapter(PunctualAdapter):
    """Makes a server's calls; `proxy` is the name of the proxy that they take, None without one."""

    proxy: str | None = None


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Give none: requests would read a redirect's body, however long, although it is not followed."""
        return None


def _session(proxies: dict[str, str]) -> requests.Session:
    session = _Session()
    # Else the host's proxy variables would count, and its .netrc.
    session.trust_env = False
    session.proxies.update(proxies)
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    adapter = _Adapter(pool_connections=1, pool_maxsize=CONNECTIONS)
    adapter.proxy = name_of(proxies)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


class HttpTransport:
    """The connections to one server. Safe for several threads; keeps no cookies, which would join jobs together."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url
        self.version = FIRST_VERSION
        """The version spoken: the lower of ours and the one that the server named last."""
        self.version_is_told = False
        """Whether the server has named its version."""
        self.put_server = PutServer(url, settings.data_dir)
        """What is known of how the server takes updates of results."""
        self._proxies = proxies_for(url, settings.dpat_proxy)
        self.session = _session(self._proxies)
        self._connect_timeout_s = settings.connect_timeout.total_seconds()
        self.read_timeout_s = settings.read_timeout.total_seconds()
        """How long a server is waited for that says nothing."""
        self._verify = None if settings.dpat_ca_bundle is None else str(settings.dpat_ca_bundle)

    def begin_with(self, version: str | None) -> None:
        """Speak the version that a caller from this server named, until the server itself names one."""
        if not self.version_is_told and is_version(version):
            self.version = lower(API_VERSION, version)

    def told(self, version: str | None) -> None:
        """Take note of the version that the server named; what can't be read changes nothing."""
        if is_version(version):
            self.version = lower(API_VERSION, version)
            self.version_is_told = True

    def connect_anew(self) -> None:
        """Use no connection again that was open until now."""
        # Nor close them: whoever was interrupted in the middle of a call may have left their pool locked.
        self.session = _session(self._proxies)

    def request(
        self,
        method: str,
        path: str,
        auth: AuthBase,
        *,
        left_s: float = math.inf,
        stream: bool = False,
        most_bytes: int | None = None,
        **options: Any,
    ) -> requests.Response:
        """Make one call and give its answer, whatever its status; all of it has to be there in `left_s` seconds.

        `most_bytes`: how long its body may be, when not as `most_answer_bytes` says. Of an error only the status
        counts, and its body is dropped. With `stream` both are for the answer's headers only: its body is read by the
        caller, and may take as long as its bytes come. Raises DpatNotReached, DpatTimeout, DpatUnavailable when the
        answer does not come, Malformed when it is too long, Refused when the server's certificate is not trusted.
        """
        if left_s <= 0:
            raise DpatTimeout("DPAT did not answer in time.")
        connect_s, read_s = self._connect_timeout_s, self.read_timeout_s
        left_s = min(left_s, max(ANSWER_MOST_S, read_s))
        headers = {VERSION_HEADER: self.version, "Accept-Encoding": "identity", **options.pop("headers", {})}
        most_bytes = most_answer_bytes(path) if most_bytes is None else most_bytes
        try:
            with answered_by(time.monotonic() + left_s, head_only=stream, most_bytes=most_bytes + HEAD_BYTES):
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
                    _take_body(response, most_bytes)
        except (requests.RequestException, OSError, AnswerTooLong) as error:
            if any(isinstance(each, AnswerTooLong) for each in _causes(error)):
                raise Malformed("DPAT's answer is longer than such an answer can be.") from error
            # An OSError: the CA bundle has gone, or holds no certificate.
            raise _translated(error, name_of(self._proxies)) from error
        self.told(response.headers.get(VERSION_HEADER))  # a proxy's own error page names none
        return response


def _take_body(response: requests.Response, most_bytes: int) -> None:
    """Read the body of a success; of an error read what is short, and leave the rest with its connection."""
    if 200 <= response.status_code < 300:
        if (announced_bytes(response.headers.get("Content-Length")) or 0) > most_bytes:
            response.close()
            raise AnswerTooLong("more bytes are announced than are read")
        response.content  # noqa: B018 - reads it
        return
    with suppress(urllib3.exceptions.HTTPError):
        response.raw.read(PAGE_BYTES, decode_content=False)
    response.close()


def _translated(error: Exception, proxy: str | None) -> DpatError:
    causes = list(_causes(error))
    if proxy is not None and isinstance(error, requests.exceptions.ProxyError):
        return _proxy_error(error, proxy)
    if isinstance(error, requests.exceptions.SSLError):
        return _tls_error(causes)
    not_connected = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
    if any(isinstance(each, not_connected) for each in causes):
        return DpatNotReached(_not_reached(proxy))
    if isinstance(error, requests.Timeout) or "timed out" in str(error):  # the latter of an answer that stops halfway
        return DpatTimeout("DPAT did not answer in time.")
    if isinstance(error, requests.RequestException):
        return _header_error(causes) if isinstance(error, ValueError) else DpatUnavailable(_not_reached(proxy))
    return Refused("The certificates in SLIDEHOOK_DPAT_CA_BUNDLE can't be read.")


def _not_reached(proxy: str | None) -> str:
    way = f" through the proxy {proxy} (SLIDEHOOK_DPAT_PROXY)" if proxy else ""
    return f"DPAT can't be reached{way}."


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
        return DpatUnavailable("DPAT's answer has two lengths.")
    return Refused("DPAT's callback URL can't be called.")


def _tls_error(causes: list[BaseException]) -> DpatError:
    untrusted = next((each for each in causes if isinstance(each, ssl.SSLCertVerificationError)), None)
    if untrusted is not None:
        why = untrusted.verify_message.rstrip(".")
        return Refused(f"DPAT's certificate is not trusted here ({why}): see SLIDEHOOK_DPAT_CA_BUNDLE.")
    if any(isinstance(each, ssl.SSLEOFError | ssl.SSLZeroReturnError) for each in causes):
        return DpatUnavailable("DPAT can't be reached.")  # it went away in the middle
    return Refused("DPAT can't be spoken to by TLS, or the certificates in SLIDEHOOK_DPAT_CA_BUNDLE are none.")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give the error, and all that is wrapped in it: urllib3 and requests keep it in different places."""
    seen: set[int] = set()
    left: list[object] = [error]
    while left:
        each = left.pop()
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            left += [*each.args, getattr(each, "reason", None), each.__cause__, each.__context__]


class ApiCalls:
    """Calls to one server with one token, or as one user."""

    def __init__(self, wire: HttpTransport, auth: AuthBase, patience: RetryPolicy) -> None:
        self._wire = wire
        self._auth = auth
        self._patience = patience

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """Make a call once, and give its answer whatever its status; see Wire."""
        return self._wire.request(method, path, self._auth, left_s=self._patience.left_s, **options)

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        """Make a call once, and give its answer of success."""
        return raise_for_status(self.request(method, path, **options))

    def send_again(self, method: str, path: str, **options: Any) -> requests.Response:
        """Make a call that may be repeated, as often as the patience allows."""
        return self._patience.call(self.send, method, path, **options)

    def get(self, path: str, query: dict[str, str] | None = None, most_bytes: int | None = None) -> requests.Response:
        """Read something."""
        return self.send_again("GET", path, params=query, most_bytes=most_bytes)


def raise_for_status(response: requests.Response) -> requests.Response:
    """Give an answer of success; raises the DpatError of any other."""
    status = response.status_code
    if 200 <= status < 300:
        if status != HTTPStatus.NO_CONTENT and is_page(response):
            with response:
                call = call_of(response)
                raise NotFromDpat(f"An HTML page came instead of DPAT's answer to {call}{_way(response)}.")
        if status != HTTPStatus.NO_CONTENT and is_packed(response.headers):
            with response:
                raise Malformed(f"DPAT's answer to {call_of(response)} is compressed, which DPAT was not asked for.")
        return response
    with response:
        if 300 <= status < 400:
            raise Refused(f"DPAT answered {status}, a redirect, which is not followed.")
        error = _refusal(response)
        if isinstance(error, DpatUnavailable):
            error.retry_after_s = asked_wait_s(response.headers.get("Retry-After"), response.headers.get("Date"))
        raise error


def _refusal(response: requests.Response) -> DpatError:
    status, call = response.status_code, call_of(response)
    if is_from_proxy(response):
        return NotFromDpat(f"A proxy{_way(response)} answered {status} in DPAT's place to {call}.")
    kind = _STATUS_ERRORS.get(status) or (DpatUnavailable if status >= 500 else Refused)
    return kind(f"DPAT answered {status} to {call}.")


def _way(response: requests.Response) -> str:
    """Name the proxy that a call has met, as far as it is known, and without its password."""
    product = product_of(response)
    kind = f" ({product})" if product else ""
    proxy = getattr(getattr(response, "connection", None), "proxy", None)
    if proxy:
        return f"{kind} at or behind {proxy} (SLIDEHOOK_DPAT_PROXY)"
    if not is_from_proxy(response):
        return kind
    url = urlsplit(response.request.url or "")
    return f"{kind} between here and {url.scheme}://{url.netloc}"


def read(adapter: TypeAdapter[_T], response: requests.Response, what: str) -> _T:
    """Read an answer's JSON; raises Malformed when it is not `what` it should be."""
    if response.content.count(b",") > MOST_VALUES:
        raise Malformed(f"DPAT's answer holds more values than {what} can.")
    try:
        return read_leniently(adapter.validate_json, response.content, what)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(path_segment) for path_segment in fault["loc"])
        raise Malformed(f"DPAT's answer is not {what}: {where}: {fault['msg']}.") from error


def path_segment(text: str) -> str:
    """Make one part of a path of a text, whatever it holds.

    Raises BadRequest on `.` and `..`: requests would take them as steps, however they are written.
    """
    if text in {".", ".."}:
        raise BadRequest(f"{text!r} can't be an id.")
    return quote(text, safe="")
