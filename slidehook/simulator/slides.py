"""The slides in a folder: each file, and each sub-folder, that OpenSlide can read."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import openslide

from slidehook.simulator.errors import NotFound

Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class SlideFile:
    """One of a slide's files; `name` is its name in a download, a path relative to the slide's folder with `/`."""

    name: str
    path: Path
    size_bytes: int


@dataclass(frozen=True)
class Slide:
    """A slide on disk. `main_file` is the file that OpenSlide opens; `stamp` changes when any file does."""

    id: str
    main_file: Path
    files: tuple[SlideFile, ...]
    vendor: str
    stamp: Stamp
    folder: Path

    @property
    def record_path(self) -> Path:
        """The JSON that overrides the image record; it may be missing."""
        return self.folder / f"{self.id}.json"

    @property
    def label_path(self) -> Path:
        """The label's JPEG; it may be missing."""
        return self.folder / f"{self.id}.label.jpg"


class SlideFolder:
    """Rescans a folder for slides on each request, so that a new slide appears at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._seen: dict[Path, tuple[Stamp, Slide | None]] = {}

    def all(self) -> list[Slide]:
        """Return the slides sorted by id; files that OpenSlide can't read are left out."""
        paths = [path for path in sorted(self.folder.iterdir()) if not path.name.startswith(".")]
        found = {slide.id: slide for path in paths if (slide := self._slide(path))}
        with self._lock:
            self._seen = {path: seen for path, seen in self._seen.items() if path in set(paths)}
        return [found[slide_id] for slide_id in sorted(found)]

    def get(self, slide_id: str) -> Slide:
        """Return one slide; raises NotFound."""
        with self._lock:
            known = [path for path, (_, slide) in self._seen.items() if slide and slide.id == slide_id]
        for path in known:
            slide = self._slide(path)
            if slide:
                return slide
        for slide in self.all():
            if slide.id == slide_id:
                return slide
        raise NotFound(f"There is no slide {slide_id!r}.")

    def exists(self, slide_id: str) -> bool:
        """Whether the slide exists."""
        try:
            self.get(slide_id)
        except NotFound:
            return False
        return True

    def _slide(self, path: Path) -> Slide | None:
        try:
            files = _files(path)
            stamp = tuple((file.name, file.size_bytes, file.path.stat().st_mtime_ns) for file in files)
        except FileNotFoundError:
            # Removed or renamed during the listing.
            return None
        with self._lock:
            seen = self._seen.get(path)
        if seen and seen[0] == stamp:
            return seen[1]
        slide = _detect(path, files, stamp)
        with self._lock:
            self._seen[path] = (stamp, slide)
        return slide


def _files(path: Path) -> tuple[SlideFile, ...]:
    if path.is_file():
        return (SlideFile(path.name, path, path.stat().st_size),)
    inner = [file for file in sorted(path.rglob("*")) if file.is_file() and not file.name.startswith(".")]
    return tuple(SlideFile(file.relative_to(path).as_posix(), file, file.stat().st_size) for file in inner)


def _detect(path: Path, files: tuple[SlideFile, ...], stamp: Stamp) -> Slide | None:
    for file in files:
        vendor = openslide.OpenSlide.detect_format(file.path)
        if vendor:
            slide_id = path.name if path.is_dir() else path.stem
            return Slide(slide_id, file.path, files, vendor, stamp, path.parent)
    return None
