"""Calls DPAT: one `DpatServer` for each server and process, one `DpatClient` for each job's token."""

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

from slidehook.dpat.iaapi.framing import check_end_is_told
from slidehook.dpat.iaapi.http_transport import ApiCalls, Bearer, Checked, HttpTransport, path_segment, read
from slidehook.dpat.iaapi.models import Token, VersionInfo
from slidehook.dpat.iaapi.result_calls import ResultCalls
from slidehook.dpat.iaapi.retry import RetryPolicy
from slidehook.dpat.iaapi.versions import as_numbers
from slidehook.dpat.tokens import TokenAuth, TokenSource
from slidehook.errors import Conflict, Malformed, NotFound, NotOffered, Refused, TokenExpired
from slidehook.models import ImageInfo, QualityControl, QualityControlUpdate
from slidehook.models.reading import Each
from slidehook.settings import Settings

MOST_SERVERS = 32
"""How many servers a process remembers: whoever names ever new callback URLs must not fill its memory."""
_IMAGE: TypeAdapter[ImageInfo] = TypeAdapter(ImageInfo)
_IMAGES: TypeAdapter[list[ImageInfo]] = TypeAdapter(Annotated[list[Each[ImageInfo]], FailFast()])
_VERSIONS: TypeAdapter[VersionInfo] = TypeAdapter(VersionInfo)
_TOKEN: TypeAdapter[Token] = TypeAdapter(Token)


class DpatServer(HttpTransport):
    """What one process knows of one DPAT server: its connections, its version, and how it takes updates."""

    def client(
        self,
        token: str | TokenSource,
        *,
        tries: int = 1,
        within_s: float = math.inf,
        sleep: Callable[[float], None] = time.sleep,
    ) -> DpatClient:
        """Give a client that speaks with `token`, or those of a source, and tries what can be retried `tries` times.

        All its calls together, with their waits and further tries, end `within_s` seconds from now, but for what it
        takes to look the server's name up, and to connect where its first address is silent and it has another.
        `sleep` waits between two tries; what it raises ends the call.
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

        Raises Refused when DPAT gives this user none, NotFound when it has no such app or no tokens to give.
        """
        # As bytes, since requests would take texts for Latin-1.
        account = HTTPBasicAuth(user.encode(), password.encode())
        calls = ApiCalls(self, account, RetryPolicy.for_s(within_s, tries, sleep))
        query, form = {"applicationId": application_id}, {"grant_type": "client_credentials"}
        try:
            return read(_TOKEN, calls.send_again("POST", "/token", params=query, data=form), "a token")
        except TokenExpired as error:
            raise Refused(
                "DPAT gives the service account no token: user, password or permission is wrong."
            ) from error


class DpatServers:
    """The servers that this process talks to. Safe for several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._servers: OrderedDict[str, DpatServer] = OrderedDict()
        self._lock = threading.Lock()

    def at(self, url: str) -> DpatServer:
        """Give the server at a callback URL; of more than `MOST_SERVERS` the one least used lately is forgotten."""
        with self._lock:
            server = self._servers.pop(url, None) or DpatServer(url, self._settings)
            self._servers[url] = server
            if len(self._servers) > MOST_SERVERS:
                # Its calls under way end as they should: only no connection is kept for further ones.
                self._servers.popitem(last=False)[1].session.close()
            return server

    def connect_anew(self) -> None:
        """Use no connection again that was open until now: after a call was broken off wherever it was."""
        with self._lock:
            for server in self._servers.values():
                server.connect_anew()


class DpatClient(ResultCalls):
    """The IA-API as an app calls it. Every method raises a DpatError of the kind that says what went wrong.

    An id that can't stand in an address is a BadRequest.
    """

    def once(self, within_s: float) -> DpatClient:
        """Give the same client without second tries, for `within_s` seconds from now, or what is left of its time."""
        patience = RetryPolicy.for_s(min(within_s, self._patience.left_s), 1, self._patience.sleep)
        return DpatClient(self._wire, self._auth, patience)

    def only_while(self, check: Callable[[], None]) -> DpatClient:
        """Give the same client, which asks `check` before each call: what that raises ends the call."""
        return DpatClient(self._wire, Checked(check, self._auth), self._patience)

    @property
    def answers_within_s(self) -> float:
        """How long a server is waited for that says nothing, in seconds."""
        return self._wire.read_timeout_s

    def info(self) -> VersionInfo:
        """Read the versions of the server."""
        info = read(_VERSIONS, self.get("/info"), "the server's versions")
        if not self._wire.version_is_told:
            self._wire.told(info.api_version)
        return info

    def speaks(self, version: str) -> bool:
        """Say whether the server is of this IA-API version or newer, as its last answer says."""
        return (as_numbers(self._wire.version) or ()) >= (as_numbers(version) or ())

    # --- slides

    def slide_info(self, slide_id: str, *, include_phi: bool = False) -> ImageInfo:
        """Read a slide's image record; identifying fields only with `include_phi`."""
        query = {"scope": "extended"} | _phi(include_phi)
        return read(_IMAGE, self.get(f"/slides/{path_segment(slide_id)}/info", query), "the slide's image record")

    def case_of(self, slide_id: str, *, include_phi: bool = False) -> list[ImageInfo]:
        """Read the image records of all slides of the slide's case; raises NotOffered before IA-API 1.9."""
        return self._case(f"/slides/{path_segment(slide_id)}/request/images/info", _phi(include_phi))

    def case(
        self,
        accession_number: str,
        *,
        issuer: str | None = None,
        issuer_id: str | None = None,
        include_phi: bool = False,
    ) -> list[ImageInfo]:
        """Read the image records of a case's slides; raises NotOffered before IA-API 1.9.

        `issuer` or `issuer_id` says whose accession number it is.
        """
        query = _phi(include_phi)
        query |= {"accessionNumberIssuer": issuer} if issuer else {}
        query |= {"accessionNumberIssuerId": issuer_id} if issuer_id else {}
        return self._case(f"/requests/{path_segment(accession_number)}/images/info", query)

    def _case(self, path: str, query: dict[str, str]) -> list[ImageInfo]:
        with self._offered_since("1.9"):
            return read(_IMAGES, self.get(path, query), "the case's image records")

    @contextmanager
    def _offered_since(self, version: str) -> Iterator[None]:
        """Raise NotOffered instead of making a call, or of NotFound, on a server older than `version`.

        A server that has not named its version yet is asked for it. One that never does may have the call.
        """
        reason = f"DPAT's IA-API has this since {version} only."
        if not self._wire.version_is_told:
            with suppress(NotFound, Refused, Malformed):
                self.info()
        if self._wire.version_is_told and not self.speaks(version):
            raise NotOffered(reason)
        try:
            yield
        except NotFound as error:
            if self.speaks(version):
                raise
            raise NotOffered(reason) from error

    def label(self, slide_id: str) -> bytes | None:
        """Read the label's JPEG, which shows identifying data; None when the slide has none."""
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
        most_bytes: int | None = None,
    ) -> bytes | None:
        """Read one Deep Zoom tile; None when the server has none there.

        `focal_plane` and `optical_path` are ids of the image record. `channels` is sent as it is: its form is not
        known. `most_bytes`: how long the answer may be; see `slidehook.dpat.iaapi.response_limits`.
        """
        plane = "" if focal_plane is None else f"_{path_segment(str(focal_plane))}"
        query = {} if optical_path is None else {"opticalPath": str(optical_path)}
        query |= {} if channels is None else {"channels": channels}
        name = f"{column}_{row}{plane}.{path_segment(extension)}"
        return _content(self.get(f"/images/{path_segment(slide_id)}_files/{level}/{name}", query, most_bytes))

    @contextmanager
    def files(self, slide_id: str) -> Iterator[requests.Response]:
        """Open the slide's files as a stream; see `slidehook.dpat.iaapi.download`."""
        with self.send_again("GET", f"/slides/{path_segment(slide_id)}/files", stream=True) as response:
            yield response

    def set_quality(
        self,
        slide_id: str,
        status: Literal["NotSet", "QualityOk", "Rejected"],
        *,
        version_id: str | int | None,
        application_version: str,
    ) -> None:
        """Set the slide's quality control; `version_id` as its image record says.

        Raises NotOffered before IA-API 1.10, Conflict when somebody else has set another status since.
        """
        wanted = QualityControl(status=status, version_id=version_id)
        body = QualityControlUpdate(application_version=application_version, quality_control=wanted).to_wire()
        with self._offered_since("1.10"):
            try:
                self.send_again("PUT", f"/slides/{path_segment(slide_id)}/qualityControl", json=body)
            except Conflict:
                # So it is also when a first try was carried out and only its answer was lost.
                now = self.slide_info(slide_id).quality_control
                if now is None or now.status != status:
                    raise


def _phi(include_phi: bool) -> dict[str, str]:
    return {"includePHI": "true"} if include_phi else {}


def _content(response: requests.Response) -> bytes | None:
    if response.status_code != HTTPStatus.OK:
        return None
    check_end_is_told(response)
    return response.content or None
