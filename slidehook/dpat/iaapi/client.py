"""The client for DPAT: one `DpatServer` per server and process, one `DpatClient` per job's token."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Annotated, Literal

import requests
from pydantic import FailFast, TypeAdapter
from requests.auth import HTTPBasicAuth

from slidehook.dpat.errors import Conflict, DpatRefused, Malformed, NotFound, TokenExpired, UnsupportedByDpat
from slidehook.dpat.iaapi.framing import require_known_length
from slidehook.dpat.iaapi.http_transport import ApiCalls, Bearer, HttpTransport, path_segment, read
from slidehook.dpat.iaapi.models import Token, VersionInfo
from slidehook.dpat.iaapi.result_calls import ResultCalls
from slidehook.dpat.iaapi.retry import RetryPolicy
from slidehook.dpat.iaapi.versions import as_numbers
from slidehook.dpat.tokens import TokenAuth
from slidehook.models import ImageInfo, QualityControl, QualityControlUpdate
from slidehook.models.reading import LenientItem
from slidehook.settings import Settings
from slidehook.systems import Secrets

MAX_SERVERS = 32
"""The most servers a process remembers, so that ever new callback URLs do not fill its memory."""
_IMAGE: TypeAdapter[ImageInfo] = TypeAdapter(ImageInfo)
_IMAGES: TypeAdapter[list[ImageInfo]] = TypeAdapter(Annotated[list[LenientItem[ImageInfo]], FailFast()])
_VERSIONS: TypeAdapter[VersionInfo] = TypeAdapter(VersionInfo)
_TOKEN: TypeAdapter[Token] = TypeAdapter(Token)


class DpatServer(HttpTransport):
    """One process's state for one DPAT server: its connections, its version, and its method of update."""

    def client(
        self,
        token: str | Secrets,
        *,
        tries: int = 1,
        within_s: float = math.inf,
        sleep: Callable[[float], None] = time.sleep,
    ) -> DpatClient:
        """Return a client that uses `token`, or the newest of several, and tries a call up to `tries` times.

        All its calls together, with retries and delays, end `within_s` seconds from now. Not included are the DNS
        lookup, and a second connection attempt when the server's first address is silent and it has another.
        `sleep` waits between two tries; an exception from it ends the call.
        """
        auth = Bearer(token) if isinstance(token, str) else TokenAuth(token)
        return DpatClient(self, auth, RetryPolicy.for_s(within_s, tries, sleep))

    def fetch_token(
        self,
        user: str,
        password: str,
        application_id: str,
        *,
        tries: int = 3,
        within_s: float = 20.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Token:
        """Fetch a token for an app as the service account (IA-API 1.9); `sleep` as for `client`.

        Raises DpatRefused when DPAT denies this user a token, NotFound when it has no such app or issues no tokens.
        """
        # As bytes, because requests would encode strings as Latin-1.
        account = HTTPBasicAuth(user.encode(), password.encode())
        calls = ApiCalls(self, account, RetryPolicy.for_s(within_s, tries, sleep))
        query, form = {"applicationId": application_id}, {"grant_type": "client_credentials"}
        try:
            return read(_TOKEN, calls.send_with_retries("POST", "/token", params=query, data=form), "a token")
        except TokenExpired as error:
            raise DpatRefused(
                "DPAT denies the service account a token: user, password or permission is wrong."
            ) from error


class DpatServers:
    """The servers that this process calls. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._servers: OrderedDict[str, DpatServer] = OrderedDict()
        self._lock = threading.Lock()

    def at(self, url: str) -> DpatServer:
        """Return the server at a callback URL; beyond `MAX_SERVERS` the least recently used one is dropped."""
        with self._lock:
            server = self._servers.pop(url, None) or DpatServer(url, self._settings)
            self._servers[url] = server
            if len(self._servers) > MAX_SERVERS:
                # Running calls still end normally; only idle connections are closed.
                self._servers.popitem(last=False)[1].session.close()
            return server

    def replace_connections(self) -> None:
        """Stop using all connections opened so far; needed after a call was interrupted at an arbitrary point."""
        with self._lock:
            for server in self._servers.values():
                server.replace_connections()


class DpatClient(ResultCalls):
    """The IA-API's calls for apps. Every method raises the subclass of DpatError that fits the failure.

    An id that can't be part of a URL raises BadRequest.
    """

    def without_retries(self, within_s: float) -> DpatClient:
        """Return this client without retries, for `within_s` seconds from now or its remaining time if less."""
        retry_policy = RetryPolicy.for_s(min(within_s, self._retry_policy.left_s), 1, self._retry_policy.sleep)
        return DpatClient(self._transport, self._auth, retry_policy)

    @property
    def read_timeout_s(self) -> float:
        """The longest silence of a server before a call times out, in seconds."""
        return self._transport.read_timeout_s

    def info(self) -> VersionInfo:
        """Read the versions of the server."""
        info = read(_VERSIONS, self.get("/info"), "the server's versions")
        if not self._transport.version_is_known:
            self._transport.note_version(info.api_version)
        return info

    def supports(self, version: str) -> bool:
        """Whether the server's last answer stated this IA-API version or a newer one."""
        return (as_numbers(self._transport.version) or ()) >= (as_numbers(version) or ())

    # --- slides

    def slide_info(self, slide_id: str, *, include_phi: bool = False) -> ImageInfo:
        """Read a slide's image record; identifying fields only with `include_phi`."""
        query = {"scope": "extended"} | _phi(include_phi)
        return read(_IMAGE, self.get(f"/slides/{path_segment(slide_id)}/info", query), "the slide's image record")

    def case_of(self, slide_id: str, *, include_phi: bool = False) -> list[ImageInfo]:
        """Read the image records of all slides of the slide's case; raises UnsupportedByDpat before IA-API 1.9."""
        return self._case(f"/slides/{path_segment(slide_id)}/request/images/info", _phi(include_phi))

    def case(
        self,
        accession_number: str,
        *,
        issuer: str | None = None,
        issuer_id: str | None = None,
        include_phi: bool = False,
    ) -> list[ImageInfo]:
        """Read the image records of a case's slides; raises UnsupportedByDpat before IA-API 1.9.

        `issuer` or `issuer_id` identifies the issuer of the accession number.
        """
        query = _phi(include_phi)
        query |= {"accessionNumberIssuer": issuer} if issuer else {}
        query |= {"accessionNumberIssuerId": issuer_id} if issuer_id else {}
        return self._case(f"/requests/{path_segment(accession_number)}/images/info", query)

    def _case(self, path: str, query: dict[str, str]) -> list[ImageInfo]:
        with self._requires("1.9"):
            return read(_IMAGES, self.get(path, query), "the case's image records")

    @contextmanager
    def _requires(self, version: str) -> Iterator[None]:
        """Raise UnsupportedByDpat on a server older than `version`, before the call or in place of its NotFound.

        A server that has not stated its version yet is asked for it. If it never does, the call is made.
        """
        reason = f"This needs IA-API {version} or newer on DPAT's side."
        if not self._transport.version_is_known:
            with suppress(NotFound, DpatRefused, Malformed):
                self.info()
        if self._transport.version_is_known and not self.supports(version):
            raise UnsupportedByDpat(reason)
        try:
            yield
        except NotFound as error:
            if self.supports(version):
                raise
            raise UnsupportedByDpat(reason) from error

    def label(self, slide_id: str) -> bytes | None:
        """Return the label's JPEG, which shows identifying data; None when the slide has no label."""
        return _content(self.get(f"/slides/{path_segment(slide_id)}/label"))

    def tile(
        self,
        slide_id: str,
        level: int,
        column: int,
        row: int,
        extension: str,
        *,
        focal_plane: str | int | None = None,
        optical_path: str | int | None = None,
        channels: str | None = None,
        max_bytes: int | None = None,
    ) -> bytes | None:
        """Return one encoded Deep Zoom tile; None when the server has no tile there.

        `focal_plane` and `optical_path` are ids from the image record. `channels` is sent unchanged: its format is
        undocumented. `max_bytes` is the answer's size limit; see `slidehook.dpat.iaapi.response_limits`.
        """
        plane = "" if focal_plane is None else f"_{path_segment(str(focal_plane))}"
        query = {} if optical_path is None else {"opticalPath": str(optical_path)}
        query |= {} if channels is None else {"channels": channels}
        name = f"{column}_{row}{plane}.{path_segment(extension)}"
        return _content(self.get(f"/images/{path_segment(slide_id)}_files/{level}/{name}", query, max_bytes))

    @contextmanager
    def files(self, slide_id: str) -> Iterator[requests.Response]:
        """Open the slide's files as a stream; see `slidehook.dpat.iaapi.download`."""
        with self.send_with_retries("GET", f"/slides/{path_segment(slide_id)}/files", stream=True) as response:
            yield response

    def set_quality(
        self,
        slide_id: str,
        status: Literal["NotSet", "QualityOk", "Rejected"],
        *,
        version_id: str | int | None,
        application_version: str,
    ) -> None:
        """Set the slide's quality control; `version_id` comes from its image record.

        Raises UnsupportedByDpat before IA-API 1.10, Conflict when somebody else has set another status since.
        """
        wanted = QualityControl(status=status, version_id=version_id)
        body = QualityControlUpdate(application_version=application_version, quality_control=wanted).to_wire()
        with self._requires("1.10"):
            try:
                self.send_with_retries("PUT", f"/slides/{path_segment(slide_id)}/qualityControl", json=body)
            except Conflict:
                # A conflict also follows a first try that succeeded and only lost its answer.
                now = self.slide_info(slide_id).quality_control
                if now is None or now.status != status:
                    raise


def _phi(include_phi: bool) -> dict[str, str]:
    return {"includePHI": "true"} if include_phi else {}


def _content(response: requests.Response) -> bytes | None:
    if response.status_code != HTTPStatus.OK:
        return None
    require_known_length(response)
    return response.content or None
