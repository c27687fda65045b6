"""What the files of a slide are called on disk: names that DPAT chose may be a patient's, and lead anywhere."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePath

from werkzeug.http import parse_options_header

MAX_NAME_BYTES = 200
"""File systems take 255 bytes; some room is left."""
_NAMING_OTHERS = frozenset({".mrxs", ".vms", ".vmu"})
"""Endings of files that name the slide's other files."""
_PICTURES = frozenset({".bif", ".bmp", ".czi", ".dcm", ".isyntax", ".jp2", ".jpeg", ".jpg", ".lif", ".ndpi", ".nd2"})
_PICTURES_TOO = frozenset({".png", ".qptiff", ".scn", ".svs", ".svslide", ".tif", ".tiff", ".vsi", ".zvi"})
_COMPANIONS = frozenset({".dat", ".ini", ".json", ".mds", ".ndpis", ".opt", ".txt", ".xml", ".zip"})
_KNOWN = _NAMING_OTHERS | _PICTURES | _PICTURES_TOO | _COMPANIONS
"""Endings that say of what kind a file is; any other may be anything."""


def file_name(disposition: str | None) -> str | None:
    """Read the file name of a Content-Disposition; None when there is none."""
    # A Windows path is often sent with its backslashes as they are, where each should stand twice.
    plain = re.sub(r'\\(?!["\\])', "/", disposition or "")
    return parse_options_header(plain)[1].get("filename")


def safe_name(name: str | None, number: int) -> str:
    """Give a name that is safe as a file's: the last part of a path, without control characters, not too long.

    The name itself is kept where it can be, since the files of one slide know each other by name.
    """
    last = unicodedata.normalize("NFC", (name or "").replace("\\", "/")).rpartition("/")[2]
    clean = "".join(each for each in last if each.isprintable() and each not in '<>:"|?*').strip().lstrip(".")
    if not clean:
        return f"file-{number}"
    stem, dot, ending = clean.rpartition(".")
    if not dot or len(ending.encode()) > 20:
        stem, dot, ending = clean, "", ""
    room = MAX_NAME_BYTES - len((dot + ending).encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + dot + ending


def own_names(names: Sequence[str]) -> list[str]:
    """Give the names of ours for files with these safe names: of theirs, only a known ending is kept.

    Files whose names differ by their endings only do so afterwards too. All names stay as they are where one of the
    files names the others.
    """
    paths = [PurePath(name) for name in names]
    if len(paths) > 1 and any(path.suffix.lower() in _NAMING_OTHERS for path in paths):
        return list(names)
    numbers: dict[str, int] = {}
    given: list[str] = []
    for path in paths:
        number = numbers.setdefault(path.stem, len(numbers) + 1)
        ending = path.suffix.lower() if path.suffix.lower() in _KNOWN else ""
        while (own := f"slide-{number}{ending}") in given:  # as of `a.x` and `a.y`, whose endings are not known
            number += 1
        given.append(own)
    return given
