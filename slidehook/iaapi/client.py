"""Calls DPAT: one `DpatServer` for each server and process, one `DpatClient` for each job's token."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote

import requests
from pydantic import TypeAdapter, ValidationError
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from slidehook.errors import (
    BadRequest,
    Conflict,
    DpatError,
    DpatTimeout,
    DpatUnavailable,
    Malformed,
    NotFound,
    Refused,
    TokenExpired,
)
from slidehook.iaapi.models import ImageInfo, ResultRecord, Stored
from slidehook.iaapi.versions import API_VERSION, VERSION_HEADER, lower
from slidehook.settings import Settings

_T = TypeVar("_T")
_STATUS_ERRORS: dict[int, type[DpatError]] = {
    401: TokenExpired,
    403: TokenExpired,
    404: NotFound,
    409: Conflict,
    429: DpatUnavailable,
}
TRY_PUT_AFTER = frozenset({400, 404, 405, 415, 501})
"""A server that answers a PATCH so is asked again with PUT."""
CONFLICT_ROUNDS = 5
"""How often an update is applied anew to a result that somebody else keeps changing."""
CONNECTIONS = 64
_RESULTS = TypeAdapter(list[Stored])


class _Bearer(AuthBase):
    """Sets the token itself, so that no `.netrc` on the host replaces it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class DpatServer:
    """What one process knows of one DPAT server: its connections, its version, and how it takes updates."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url
        self.version = API_VERSION
        self.update_method = "PATCH"
        self.timeout = (settings.connect_timeout.total_seconds(), settings.read_timeout.total_seconds())
        self.session = requests.Session()
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=CONNECTIONS)
        self.session.mount("http://", adapter)
        self.session.mount("https://", adapter)
        # Given with each call: a session's own is overridden by REQUESTS_CA_BUNDLE.
        self.verify = None if settings.dpat_ca_bundle is None else str(settings.dpat_ca_bundle)

    def client(self, token: str, *, tries: int = 1) -> DpatClient:
        """Give a client that speaks with `token` and tries what can be retried `tries` times."""
        return DpatClient(self, token, tries=tries)


class DpatServers:
    """The servers that this process talks to. Safe for several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._servers: dict[str, DpatServer] = {}
        self._lock = threading.Lock()

    def at(self, url: str) -> DpatServer:
        """Give the server at a callback URL."""
        with self._lock:
            if url not in self._servers:
                self._servers[url] = DpatServer(url, self._settings)
            return self._servers[url]


class DpatClient:
    """The IA-API as an app calls it. Every method raises a DpatError of the kind that says what went wrong.

    An id that can't stand in an address is a BadRequest.
    """

    def __init__(self, server: DpatServer, token: str, *, tries: int) -> None:
        self._server = server
        self._auth = _Bearer(token)
        self._retrying = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, DpatUnavailable)),
            stop=stop_after_attempt(tries),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            reraise=True,
        )

    # --- slides

    def slide_info(self, slide_id: str, *, include_phi: bool = False) -> ImageInfo:
        """Read a slide's image record; identifying fields only with `include_phi`."""
        query = {"scope": "extended"} | ({"includePHI": "true"} if include_phi else {})
        response = self._get(f"/slides/{_part(slide_id)}/info", query)
        return _read(TypeAdapter(ImageInfo), response, "the slide's image record")

    def label(self, slide_id: str) -> bytes | None:
        """Read the label's JPEG, which shows identifying data; None when the slide has none."""
        response = self._get(f"/slides/{_part(slide_id)}/label")
        return response.content if response.status_code == 200 and response.content else None

    def tile(self, slide_id: str, level: int, column: int, row: int, extension: str) -> bytes | None:
        """Read one Deep Zoom tile; None when the server has none there."""
        response = self._get(f"/images/{_part(slide_id)}_files/{level}/{column}_{row}.{_part(extension)}")
        return response.content if response.status_code == 200 and response.content else None

    @contextmanager
    def files(self, slide_id: str) -> Iterator[requests.Response]:
        """Open the slide's files as a stream; see `slidehook.iaapi.download`."""
        # Compressing slides costs time and hides their size.
        headers = {"Accept-Encoding": "identity"}
        response = self._retrying(self._send, "GET", f"/slides/{_part(slide_id)}/files", headers=headers, stream=True)
        with response:
            yield response

    # --- results

    def results_on_slide(self, app_id: str, slide_id: str) -> list[Stored]:
        """Read the app's results on a slide."""
        response = self._get(f"/applications/{_part(app_id)}/results/slide/{_part(slide_id)}")
        stored = _read(_RESULTS, response, "the list of results")
        return [each.with_answer(answer) for each, answer in zip(stored, response.json(), strict=True)]

    def result(self, app_id: str, result_id: int | str) -> Stored:
        """Read one stored result."""
        return _stored(self._get(f"/applications/{_part(app_id)}/results/{_part(str(result_id))}"))

    def create_result(self, app_id: str, record: ResultRecord) -> Stored:
        """Store a new result. Never tried twice: a second try could make a second result."""
        return _stored(self._send("POST", f"/applications/{_part(app_id)}/results", json=record.to_wire()))

    def update_result(self, app_id: str, record: ResultRecord, result_id: int | str, version_id: int | str) -> Stored:
        """Replace a stored result; on a conflict its present version is read and the update applied to that.

        Raises NotFound when the user has deleted it: it is never made anew.
        """
        for _ in range(CONFLICT_ROUNDS):
            body = record.to_wire() | {"id": result_id, "versionId": version_id}
            try:
                return _stored(self._retrying(self._update, app_id, result_id, body))
            except Conflict:
                version_id = self.result(app_id, result_id).version_id
        raise Conflict(f"result {result_id} is changed by somebody else again and again")

    def _update(self, app_id: str, result_id: int | str, body: dict[str, Any]) -> requests.Response:
        path = f"/applications/{_part(app_id)}/results/{_part(str(result_id))}"
        if self._server.update_method == "PATCH":
            response = self._exchange("PATCH", path, json=body)
            if response.status_code not in TRY_PUT_AFTER:
                return _checked(response)
            put = _checked(self._exchange("PUT", path, json=body))
            self._server.update_method = "PUT"
            return put
        return self._send("PUT", path, json=body)

    # --- the wire

    def _get(self, path: str, query: dict[str, str] | None = None) -> requests.Response:
        return self._retrying(self._send, "GET", path, params=query)

    def _send(self, method: str, path: str, **options: Any) -> requests.Response:
        return _checked(self._exchange(method, path, **options))

    def _exchange(self, method: str, path: str, **options: Any) -> requests.Response:
        server = self._server
        options["headers"] = {VERSION_HEADER: server.version, **options.get("headers", {})}
        try:
            response = server.session.request(
                method,
                server.url + path,
                auth=self._auth,
                timeout=server.timeout,
                verify=server.verify,
                allow_redirects=False,
                **options,
            )
        except requests.Timeout as error:
            raise DpatTimeout("DPAT did not answer in time.") from error
        except requests.exceptions.SSLError as error:
            raise Refused(f"DPAT's certificate is not trusted here: {error}") from error
        except requests.RequestException as error:
            if "timed out" in str(error):  # so requests says that an answer stopped halfway
                raise DpatTimeout("DPAT did not answer in time.") from error
            raise DpatUnavailable("DPAT can't be reached.") from error
        if (theirs := response.headers.get(VERSION_HEADER)) is not None:  # a proxy's own error page names none
            server.version = lower(API_VERSION, theirs)
        return response


def _checked(response: requests.Response) -> requests.Response:
    status = response.status_code
    if 200 <= status < 300:
        return response
    with response:
        if 300 <= status < 400:
            raise Refused(f"DPAT answered {status}, a redirect, which is not followed.")
        kind = _STATUS_ERRORS.get(status) or (DpatUnavailable if status >= 500 else Refused)
        raise kind(f"DPAT answered {status} to {response.request.method} {_shown(response)}.")


def _shown(response: requests.Response) -> str:
    """Give the address without its query and server: enough to find the call, nothing that is secret."""
    path = (response.request.path_url or "").partition("?")[0]
    return path.partition("/imageanalysis/v1")[2] or path


def _read(adapter: TypeAdapter[_T], response: requests.Response, what: str) -> _T:
    try:
        return adapter.validate_json(response.content)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise Malformed(f"DPAT's answer is not {what}: {where}: {fault['msg']}.") from error


def _stored(response: requests.Response) -> Stored:
    return _read(TypeAdapter(Stored), response, "the stored result").with_answer(response.json())


def _part(text: str) -> str:
    """Make one part of a path of a text, whatever it holds.

    Raises BadRequest on `.` and `..`: requests would take them as steps, however they are written.
    """
    if text in {".", ".."}:
        raise BadRequest(f"{text!r} can't be an id.")
    return quote(text, safe="")
