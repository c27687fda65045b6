"""Names of a slide's files on disk: DPAT's names may identify a patient or contain path components."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePath

from werkzeug.http import parse_options_header

MAX_NAME_BYTES = 200
"""File systems allow 255 bytes; this leaves some spare."""
_INDEX_SUFFIXES = frozenset({".mrxs", ".vms", ".vmu"})
"""Suffixes of index files, which refer to the slide's other files by name."""
_IMAGE_SUFFIXES = frozenset(
    {".bif", ".bmp", ".czi", ".dcm", ".isyntax", ".jp2", ".jpeg", ".jpg", ".lif", ".ndpi", ".nd2"}
)
_MORE_IMAGE_SUFFIXES = frozenset({".png", ".qptiff", ".scn", ".svs", ".svslide", ".tif", ".tiff", ".vsi", ".zvi"})
_COMPANION_SUFFIXES = frozenset({".dat", ".ini", ".json", ".mds", ".ndpis", ".opt", ".txt", ".xml", ".zip"})
_KNOWN_SUFFIXES = _INDEX_SUFFIXES | _IMAGE_SUFFIXES | _MORE_IMAGE_SUFFIXES | _COMPANION_SUFFIXES
"""Suffixes that identify a file's format. Any other suffix could contain anything."""


def disposition_filename(disposition: str | None) -> str | None:
    """Return the file name of a Content-Disposition, or None."""
    # Windows paths are often sent with single backslashes, although the header requires each to be doubled.
    plain = re.sub(r'\\(?!["\\])', "/", disposition or "")
    return parse_options_header(plain)[1].get("filename")


def safe_name(name: str | None, number: int) -> str:
    """Return a safe file name: the last component of a path, without control characters, and of limited length.

    The name is otherwise kept, because the files of one slide refer to each other by name.
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


def neutral_names(names: Sequence[str]) -> list[str]:
    """Return neutral names for files with these safe names; only known suffixes are kept.

    Files that share a stem still share one afterwards. All names stay unchanged when one of the files refers to the
    others by name.
    """
    paths = [PurePath(name) for name in names]
    if len(paths) > 1 and any(path.suffix.lower() in _INDEX_SUFFIXES for path in paths):
        return list(names)
    numbers: dict[str, int] = {}
    assigned: list[str] = []
    for path in paths:
        number = numbers.setdefault(path.stem, len(numbers) + 1)
        ending = path.suffix.lower() if path.suffix.lower() in _KNOWN_SUFFIXES else ""
        while (own := f"slide-{number}{ending}") in assigned:  # for `a.x` and `a.y`, whose suffixes are unknown
            number += 1
        assigned.append(own)
    return assigned
