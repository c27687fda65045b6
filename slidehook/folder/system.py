"""Folders of this machine as a system that slides come from and results go to."""

from __future__ import annotations

from pathlib import Path

from slidehook.app import App
from slidehook.folder.destination import FolderDestination
from slidehook.folder.local_slide import is_slide, local_id
from slidehook.folder.origin import FolderOrigin
from slidehook.systems import Access, OriginTicket, Work


class FolderSystem:
    """The address of a slide is its path; its results go beside it. See `slidehook.systems.System`.

    The address of a further destination is a folder. The results of the app `ihc` on `S-1.svs` are in `S-1-ihc`.
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
        path = Path(address)
        folder = path.with_name(f"{local_id(path)}-{app.id}") if is_slide(path) else path
        return FolderDestination(folder, work, app, access)
