"""An app's fingerprint: 12 characters that identify its code, its files and its parameters."""

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
    """Return an app's fingerprint.

    It covers the code as loaded, the files as they are now, the parameters, and slidehook's version. It is
    the same on every host. Each process reads an unchanged file once. Raises AppError if `App.files` fails.
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
    """Return the fingerprint of the last of `apps`, which needs the results of all before it."""
    told = ""
    for app in apps:
        told = resting_on(fingerprint(app), told)
    return told


def resting_on(own: str, before: str) -> str:
    """Join an app's fingerprint and that of the result that it needs; `before` is empty if it needs none."""
    return f"{own} on {before}" if before else own


def content_of(path: Path) -> str:
    """Return the digest of a file, or of all files in a folder; a fixed word if it can't be read."""
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
