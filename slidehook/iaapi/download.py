"""Brings a slide's files to disk, such that a download that was cut can never pass for a slide."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import TracebackType

from requests import Response
from urllib3.exceptions import HTTPError, ReadTimeoutError
from werkzeug.http import parse_options_header

from slidehook.behind import Behind
from slidehook.disk import begin_write_back, check_room, storing
from slidehook.errors import DownloadIncomplete, DpatTimeout, Malformed
from slidehook.iaapi.framing import announced_bytes, check_end_is_told, is_packed
from slidehook.iaapi.multipart import PartEnd, PartHead, read_parts

CHUNK_BYTES = 1 << 18
"""How much is read at a time, at most: memory stays at a few of these whatever the slide's size."""
WRITE_BACK_BYTES = 8 << 20
"""After so much the disk is told to begin: at the end little is left to wait for."""
SLIDE = "the slide"
MAX_NAME_BYTES = 200
"""File systems take 255 bytes; `.part` and some room are left."""

Received = Callable[[int, int | None], None]
"""Told how many bytes have come, and how many are to come in all where that is known."""


def save_files(response: Response, folder: Path, received: Received) -> list[Path]:
    """Write the answer of `GET /slides/{id}/files` into `folder`, which must be empty; gives the files.

    Every file is written as `<name>.part`, checked against the announced size and fsynced; when all are whole they
    get their names. Raises DownloadIncomplete, DpatUnavailable, Malformed, CannotStore; then `folder` holds `.part`
    files only.
    """
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        raise DownloadIncomplete("DPAT sent a part of the slide's files only")
    kind, options = parse_options_header(response.headers.get("Content-Type"))
    total = announced_bytes(response.headers.get("Content-Length"))
    check_room(folder, total or 0, SLIDE)
    with _Folder(folder) as files, Behind() as disk:
        for event in _events(kind, options.get("boundary", ""), response, _count(_chunks(response), received, total)):
            disk.do(partial(files.take, event))
        disk.finish()
        return files.keep()


def _events(
    kind: str, boundary: str, response: Response, chunks: Iterator[bytes]
) -> Iterator[PartHead | bytes | memoryview | PartEnd]:
    """Give the answer's files as a multipart answer's parts come, also when it is one bare file."""
    if not kind.lower().startswith("multipart/"):
        check_end_is_told(response)
        yield PartHead({name.lower(): _as_utf8(value) for name, value in response.headers.items()})
        yield from chunks
        yield PartEnd()
        return
    if not boundary:
        raise Malformed("DPAT's multipart answer names no boundary")
    for event in read_parts(chunks, boundary):
        if isinstance(event, PartHead) and is_packed(event.headers, is_part=True):
            raise Malformed("DPAT sent a file of the slide compressed or encoded, which DPAT was not asked for")
        yield event


def _chunks(response: Response) -> Iterator[bytes]:
    # Not requests' `iter_content`: it waits until a chunk is full, and whoever is told of progress may want to stop.
    try:
        while chunk := response.raw.read1(CHUNK_BYTES, decode_content=False):
            yield chunk
    except ReadTimeoutError as error:
        raise DpatTimeout("DPAT stopped sending the slide's files") from error
    except HTTPError as error:
        raise DownloadIncomplete("the connection to DPAT broke while the slide's files came") from error


def _count(chunks: Iterator[bytes], received: Received, total: int | None) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        done += len(chunk)
        received(done, total)
        yield chunk
    if total is not None and done != total:
        raise DownloadIncomplete(f"DPAT announced {total} bytes and sent {done}")


def _as_utf8(header: str) -> str:
    """Read as UTF-8 what Python has read as Latin-1: so servers send names that no standard lets them send."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


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
        self._sent_back = 0

    def __enter__(self) -> _Folder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def take(self, event: PartHead | bytes | memoryview | PartEnd) -> None:
        if isinstance(event, PartHead):
            size = announced_bytes(event.headers.get("content-length"))
            self.begin(_file_name(event.headers.get("content-disposition")), size)
        elif isinstance(event, PartEnd):
            self.end()
        else:
            self.write(event)

    def begin(self, name: str | None, expected: int | None) -> None:
        self._name = safe_name(name, len(self._whole) + 1)
        name = self._name.casefold()
        # Of "x" and "x.part", one would be overwritten while the other is still aside.
        if {name, f"{name}.part", name.removesuffix(".part")} & {each.casefold() for each in self._whole}:
            raise Malformed(f"DPAT sent two files with the name {self._name}")
        self._expected, self._written, self._sent_back = expected, 0, 0
        path = self._folder / f"{self._name}.part"
        with storing(SLIDE):
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, data: bytes | memoryview) -> None:
        if self._fd is None:
            raise Malformed("DPAT sent bytes that belong to no file")
        left = memoryview(data)
        with storing(SLIDE):
            while left:
                count = os.write(self._fd, left)
                left = left[count:]
                self._written += count
        if self._written - self._sent_back >= WRITE_BACK_BYTES:
            begin_write_back(self._fd, self._sent_back, self._written - self._sent_back)
            self._sent_back = self._written

    def end(self) -> None:
        if self._fd is None:
            raise Malformed("DPAT ended a file that had not begun")
        if self._expected is not None and self._written != self._expected:
            raise DownloadIncomplete(f"{self._name}: {self._expected} bytes announced, {self._written} came")
        if self._written == 0:
            raise DownloadIncomplete(f"{self._name} came empty")
        with storing(SLIDE):
            os.fsync(self._fd)
        os.close(self._fd)
        self._fd = None
        self._whole.append(self._name)

    def keep(self) -> list[Path]:
        """Give every file its name, durably."""
        if not self._whole:
            raise Malformed("DPAT sent no file of the slide")
        paths = [self._folder / name for name in self._whole]
        with storing(SLIDE):
            for path in paths:
                path.with_name(path.name + ".part").rename(path)
            fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        return paths
