"""The files of one slide on this host, for the apps of one job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from slidehook.app import App
from slidehook.models import ImageInfo


@dataclass(frozen=True)
class FetchedSlide:
    """A slide's record and files; a path is None if no app needs that file, or there is none.

    `thumbnail`: the path of the overview, which the first app's process creates. `has_tiles`: whether the slide's
    origin offers tiles.
    """

    info: ImageInfo
    path: Path | None = None
    thumbnail: Path | None = None
    label: Path | None = None
    has_tiles: bool = True

    def path_for(self, app: App) -> Path | None:
        """Return the file that OpenSlide opens, for an app that needs it."""
        return self.path if needs_files(app, has_tiles=self.has_tiles) else None


def needs_files(app: App, *, has_tiles: bool) -> bool:
    """Whether an app needs a slide's files; so does an app that needs tiles if the slide's origin offers none."""
    return "files" in app.needs or ("tiles" in app.needs and not has_tiles)
