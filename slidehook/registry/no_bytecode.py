"""Imports an author's own modules without leaving `__pycache__` folders beside them."""

from __future__ import annotations

import sys
from importlib.abc import PathEntryFinder
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


class NoBytecodeLoader(SourceFileLoader):
    """Loads a module's source, and writes no compiled file for it."""

    def set_data(self, path: str, data: Buffer, *, _mode: int = 0o666) -> None:
        """Drop the compiled code."""


def write_no_bytecode_in(folder: Path) -> None:
    """Let this process write no compiled files in `folder` and below it.

    Installed packages are an exception, even if their environment lies in `folder`: they would start more slowly.
    """
    find = FileFinder.path_hook(
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (NoBytecodeLoader, SOURCE_SUFFIXES),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),
    )

    def is_the_authors(path: Path) -> bool:
        is_installed = path.is_relative_to(sys.prefix) or path.is_relative_to(sys.base_prefix)
        return path.is_relative_to(folder) and not is_installed and "site-packages" not in path.parts

    def hook(path: str) -> PathEntryFinder:
        if not is_the_authors(Path(path or ".").resolve()):
            raise ImportError("not the author's", path=path)
        return find(path)

    sys.path_hooks.insert(0, hook)
    for path in [each for each in sys.path_importer_cache if is_the_authors(Path(each).resolve())]:
        del sys.path_importer_cache[path]
