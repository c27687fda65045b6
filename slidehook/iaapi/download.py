"""Brings a slide's files to disk, such that a download that was cut can never pass for a slide."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import requests
from requests import Response
from requests.exceptions import ChunkedEncodingError, ReadTimeout, RequestException
from werkzeug.http import parse_options_header

from slidehook.errors import DownloadIncomplete, DpatTimeout, DpatUnavailable, Malformed
from slidehook.iaapi.multipart import PartEnd, PartHead, read_parts

CHUNK_BYTES = 1 << 20
"""How much is read at a time: memory stays at a few of these whatever the slide's size."""
MAX_NAME_BYTES = 200
"""File systems take 255 bytes; `.part` and some room are left."""

Received = Callable[[int, int | None], None]
"""Told how many bytes have come, and how many are to come in all where that is known."""


def save_files(response: Response, folder: Path, received: Received) -> list[Path]:
    """Write the answer of `GET /slides/{id}/files` into `folder`, which must be empty; gives the files.

    Every file is written as `<name>.part`, checked against the announced size and fsynced; when all are whole they
    get their names. Raises DownloadIncomplete, DpatUnavailable, Malformed; then `folder` holds `.part` files only.
    """
    kind, options = parse_options_header(response.headers.get("Content-Type"))
    # Of a compressed answer the length says nothing about the files'.
    total = None if "Content-Encoding" in response.headers else _announced(response.headers.get("Content-Length"))
    with _Folder(folder) as files:
        chunks = _count(_chunks(response), received, total)
        if kind.startswith("multipart/"):
            _save_parts(chunks, options.get("boundary", ""), files)
        elif kind == "text/html":
            raise Malformed("DPAT answered an HTML page where the slide's files should be")
        else:
            files.begin(_file_name(response.headers.get("Content-Disposition")), total)
            for chunk in chunks:
                files.write(chunk)
            files.end()
        return files.keep()


def _save_parts(chunks: Iterator[bytes], boundary: str, files: _Folder) -> None:
    if not boundary:
        raise Malformed("DPAT's multipart answer names no boundary")
    for event in read_parts(chunks, boundary):
        if isinstance(event, PartHead):
            size = _announced(event.headers.get("content-length"))
            files.begin(_file_name(event.headers.get("content-disposition")), size)
        elif isinstance(event, PartEnd):
            files.end()
        else:
            files.write(event)


def _chunks(response: Response) -> Iterator[bytes]:
    try:
        yield from response.iter_content(CHUNK_BYTES)
    except ReadTimeout as error:
        raise DpatTimeout("DPAT stopped sending the slide's files") from error
    except (ChunkedEncodingError, requests.ConnectionError) as error:
        if "timed out" in str(error):
            raise DpatTimeout("DPAT stopped sending the slide's files") from error
        raise DownloadIncomplete("the connection to DPAT broke while the slide's files came") from error
    except RequestException as error:
        raise DpatUnavailable(f"the slide's files can't be read from DPAT: {error}") from error


def _count(chunks: Iterator[bytes], received: Received, total: int | None) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        done += len(chunk)
        received(done, total)
        yield chunk
    if total is not None and done != total:
        raise DownloadIncomplete(f"DPAT announced {total} bytes and sent {done}")


def _announced(value: str | None) -> int | None:
    return int(value) if value is not None and value.isascii() and value.isdigit() else None


def _file_name(disposition: str | None) -> str | None:
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


class _Folder:
    """The files of one download, as `.part` until all are whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._whole: list[str] = []
        self._fd: int | None = None
        self._name = ""
        self._expected: int | None = None
        self._written = 0

    def __enter__(self) -> _Folder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def begin(self, name: str | None, expected: int | None) -> None:
        self._name = safe_name(name, len(self._whole) + 1)
        name = self._name.casefold()
        # Of "x" and "x.part", one would be overwritten while the other is still aside.
        if {name, f"{name}.part", name.removesuffix(".part")} & {each.casefold() for each in self._whole}:
            raise Malformed(f"DPAT sent two files with the name {self._name}")
        self._expected, self._written = expected, 0
        path = self._folder / f"{self._name}.part"
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes) -> None:
        if self._fd is None:
            raise Malformed("DPAT sent bytes that belong to no file")
        view = memoryview(data)
        self._written += len(view)
        while view:
            view = view[os.write(self._fd, view) :]

    def end(self) -> None:
        if self._fd is None:
            raise Malformed("DPAT ended a file that had not begun")
        if self._expected is not None and self._written != self._expected:
            raise DownloadIncomplete(f"{self._name}: {self._expected} bytes announced, {self._written} came")
        if self._written == 0:
            raise DownloadIncomplete(f"{self._name} came empty")
        os.fsync(self._fd)
        os.close(self._fd)
        self._fd = None
        self._whole.append(self._name)

    def keep(self) -> list[Path]:
        """Give every file its name, durably."""
        if not self._whole:
            raise Malformed("DPAT sent no file of the slide")
        paths = [self._folder / name for name in self._whole]
        for path in paths:
            path.with_name(path.name + ".part").rename(path)
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        return paths
