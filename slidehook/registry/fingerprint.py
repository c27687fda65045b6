"""Names what an app's numbers rest on: its code, its files and its parameters, in twelve characters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from slidehook.app import App
from slidehook.errors import AppError
from slidehook.registry.source_files import Signature, signature
from slidehook.version import SOFTWARE_VERSION

LENGTH = 12


def fingerprint(app: App) -> str:
    """Name the app's code as it was loaded, its files as they are now, its parameters, and slidehook's version.

    It is the same on every host. A file that has not changed is read once in each process. Raises AppError when the
    app can't name its files.
    """
    try:
        named = [Path(each) for each in app.files()]
    except (Exception, SystemExit) as error:
        # An author's code may raise anything.
        raise AppError(f"the app {app.id} can't name its files: {type(error).__name__}: {error}") from error
    files = sorted((path.name, content_of(path)) for path in named)
    said = [SOFTWARE_VERSION, app.code_digest, files, app.params.model_dump(mode="json")]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:LENGTH]


def fingerprint_of(apps: Sequence[App]) -> str:
    """Name what the last of `apps` rests on, given that it rests on those before."""
    told = ""
    for app in apps:
        told = resting_on(fingerprint(app), told)
    return told


def resting_on(own: str, before: str) -> str:
    """Join an app's fingerprint and that of the result that it rests on; `before` is empty where it rests on none."""
    return f"{own} on {before}" if before else own


def content_of(path: Path) -> str:
    """Give the digest of a file's content, or of all in a folder; of what can't be read, a word that says so."""
    try:
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*") if each.is_file())
            said = "".join(f"{each.relative_to(path)} {content_of(each)}\n" for each in inside)
            return hashlib.sha256(said.encode()).hexdigest()
        seen = signature(path)
        return "absent" if seen is None else _digest(path, seen)
    except OSError:
        return "unreadable"


@lru_cache(maxsize=1024)
def _digest(path: Path, _: Signature) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
