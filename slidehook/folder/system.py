"""Folders of this machine as a system that slides come from and results go to."""

from __future__ import annotations

from pathlib import Path

from slidehook.app import App
from slidehook.folder.destination import FolderDestination
from slidehook.folder.origin import FolderOrigin
from slidehook.systems import Access, OriginTicket, Work


class FolderSystem:
    """The address of a slide is its path, the address of a destination is a folder. See `slidehook.systems.System`.

    `settings` and `pause` are accepted because every system gets them; it needs neither.
    """

    name = "folder"

    def __init__(self, settings: object = None, pause: object = None) -> None:
        del settings, pause

    def origin(self, ticket: OriginTicket, access: Access) -> FolderOrigin:
        """Return the slide at a path; it is not read yet."""
        return FolderOrigin(ticket, access)

    def destination(self, address: str, work: Work, app: App, access: Access) -> FolderDestination:
        """Return the files in a folder; nothing is written yet."""
        return FolderDestination(Path(address), work, app, access)
