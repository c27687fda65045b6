"""A slide at DPAT: its record, overview, label, files, tiles and case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL.Image import Image

from slidehook.disk import Room
from slidehook.dpat.fetching import fetch_files, fetch_label, fetch_thumbnail
from slidehook.dpat.iaapi.client import DpatClient
from slidehook.dpat.pixels import DpatPixels, why_no_tiles
from slidehook.models import ImageInfo
from slidehook.pixels.source import PixelSource
from slidehook.slide import find_slide_file
from slidehook.systems import OriginTicket, Secrets


class DpatOrigin:
    """One slide at DPAT. See `slidehook.systems.SlideOrigin`; the errors are those of `slidehook.dpat.errors`.

    `secrets`: those of `client`. `include_phi`: whether identifying fields may be asked for.
    """

    title = "DPAT"
    is_at_hand = False

    def __init__(
        self, client: DpatClient, ticket: OriginTicket, secrets: Secrets, *, include_phi: bool = False
    ) -> None:
        self._client = client
        self._secrets = secrets
        self._ticket = ticket
        self._include_phi = include_phi

    def info(self) -> ImageInfo:
        """Read the slide's image record; without identifying fields unless they may be asked for."""
        info = self._client.slide_info(self._ticket.slide_id, include_phi=self._include_phi)
        return info if self._include_phi else info.without_phi()

    def overview(self, info: ImageInfo) -> Image | None:
        """Assemble an overview of DPAT's tiles; None when DPAT can't give all of them. Raises TokenExpired."""
        return fetch_thumbnail(self._client, info)

    def label(self) -> bytes | None:
        """Fetch the label's JPEG or PNG; None when DPAT has no readable one. Raises TokenExpired."""
        return fetch_label(self._client, self._ticket.slide_id)

    def files(
        self,
        make_folder: Callable[[], Path],
        received: Callable[[int, int | None], None],
        *,
        room: Room,
        keep_names: bool = True,
    ) -> list[Path]:
        """Download the slide's files; see `SlideOrigin.files`."""
        files = fetch_files(
            self._client, self._ticket.slide_id, make_folder, received, room=room, keep_names=keep_names
        )
        first = find_slide_file(files[0].parent)
        return [first, *(each for each in files if each != first)]

    def no_tiles(self, info: ImageInfo) -> str:
        """Return in one sentence why DPAT can't give this slide in tiles; an empty string when it can."""
        return why_no_tiles(info)

    def pixels(self, info: ImageInfo) -> PixelSource:
        """Open DPAT's tiles of the slide; raises SlideUnreadable when DPAT can't give it in tiles."""
        return DpatPixels(self._client, info)

    def case(self) -> list[ImageInfo]:
        """Read the image records of the slide's case; raises UnsupportedByDpat before IA-API 1.9."""
        return self._client.case_of(self._ticket.slide_id, include_phi=self._include_phi)

    def for_child(self) -> OriginTicket:
        """Return the ticket of this slide."""
        return self._ticket

    def secrets_for_child(self) -> Secrets:
        """Return the job's tokens, and the service account's; its password stays in this process."""
        return self._secrets
