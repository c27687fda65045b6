"""Downloads a slide's files; a truncated download never appears as a slide."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import TracebackType

from requests import Response
from urllib3.exceptions import HTTPError, ReadTimeoutError
from werkzeug.http import parse_options_header

from slidehook.background_writer import BackgroundWriter
from slidehook.disk import Room, begin_write_back, storing
from slidehook.dpat.errors import DownloadIncomplete, DpatTimeout, Malformed
from slidehook.dpat.iaapi.framing import content_length, is_encoded, require_known_length
from slidehook.dpat.iaapi.multipart import PartEnd, PartHead, read_parts
from slidehook.dpat.iaapi.slide_filenames import disposition_filename, neutral_names, safe_name

CHUNK_BYTES = 1 << 18
"""The most bytes per read: memory use stays at a few chunks, whatever the slide's size."""
WRITE_BACK_BYTES = 8 << 20
"""Write-back is started after each block of this size, so that the final fsync is short."""
SLIDE = "the slide"

OnProgress = Callable[[int, int | None], None]
"""Called with the bytes received so far, and the total or None if it is unknown."""
NO_RESERVE = Room()


def save_files(
    response: Response, folder: Path, on_progress: OnProgress, *, room: Room = NO_RESERVE, keep_names: bool = True
) -> list[Path]:
    """Write the answer of `GET /slides/{id}/files` into `folder`, which must be empty; returns the files.

    Every file is written as `.<number>.part`, checked against the announced size and fsynced. When all are complete,
    they get their final names; without `keep_names`, neutral ones where possible (see `neutral_names`). `room` is the
    disk space that must stay free. Raises DownloadIncomplete, DpatUnavailable, Malformed or CannotStore; their
    messages contain no file name, and `folder` then contains only `.part` files.
    """
    if response.status_code == HTTPStatus.PARTIAL_CONTENT:
        raise DownloadIncomplete("DPAT sent only a part of the slide's files")
    kind, options = parse_options_header(response.headers.get("Content-Type"))
    total = content_length(response.headers.get("Content-Length"))
    room.check(folder, total or 0, SLIDE)
    with _Folder(folder, room) as files, BackgroundWriter() as disk:
        for event in _events(
            kind, options.get("boundary", ""), response, _count(_chunks(response), on_progress, total)
        ):
            disk.do(partial(files.take, event))
        disk.finish()
        return files.keep(keep_names=keep_names)


def _events(
    kind: str, boundary: str, response: Response, chunks: Iterator[bytes]
) -> Iterator[PartHead | bytes | memoryview | PartEnd]:
    """Yield the answer's files as the events of `read_parts`, even if the answer is one bare file."""
    if not kind.lower().startswith("multipart/"):
        require_known_length(response)
        yield PartHead({name.lower(): _as_utf8(value) for name, value in response.headers.items()})
        yield from chunks
        yield PartEnd()
        return
    if not boundary:
        raise Malformed("DPAT's multipart answer names no boundary")
    for event in read_parts(chunks, boundary):
        if isinstance(event, PartHead) and is_encoded(event.headers, is_part=True):
            raise Malformed("DPAT sent a file of the slide compressed or encoded, which DPAT was not asked for")
        yield event


def _chunks(response: Response) -> Iterator[bytes]:
    # requests' `iter_content` waits until a chunk is full; here `on_progress` may stop the download earlier.
    try:
        while chunk := response.raw.read1(CHUNK_BYTES, decode_content=False):
            yield chunk
    except ReadTimeoutError as error:
        raise DpatTimeout("DPAT stopped sending the slide's files") from error
    except HTTPError as error:
        raise DownloadIncomplete("the connection to DPAT broke during the download") from error


def _count(chunks: Iterator[bytes], on_progress: OnProgress, total: int | None) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        done += len(chunk)
        on_progress(done, total)
        yield chunk
    if total is not None and done != total:
        raise DownloadIncomplete(f"DPAT announced {total} bytes and sent {done}")


def _as_utf8(header: str) -> str:
    """Decode as UTF-8 a header that Python decoded as Latin-1: some servers send raw UTF-8 against the standard."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header


class _Folder:
    """The files of one download, named `.part` until all are complete.

    `slidehook.private.replacing` renames each file by itself; here no file may appear before all are complete.
    """

    def __init__(self, folder: Path, room: Room) -> None:
        self._folder = folder
        self._room = room
        self._unchecked = 0
        """The bytes written since the free space was checked."""
        self._names: list[str] = []
        self._fd: int | None = None
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
            size = content_length(event.headers.get("content-length"))
            self.begin(disposition_filename(event.headers.get("content-disposition")), size)
        elif isinstance(event, PartEnd):
            self.end()
        else:
            self.write(event)

    def begin(self, name: str | None, expected: int | None) -> None:
        safe = safe_name(name, len(self._names) + 1)
        if safe.casefold() in {each.casefold() for each in self._names}:
            raise Malformed("DPAT sent two files with one name")
        self._names.append(safe)
        self._expected, self._written, self._sent_back = expected, 0, 0
        with storing(SLIDE):
            self._fd = os.open(
                self._aside(len(self._names)), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
            )

    def _aside(self, number: int) -> Path:
        # No safe name begins with a dot.
        return self._folder / f".{number}.part"

    def write(self, data: bytes | memoryview) -> None:
        if self._fd is None:
            raise Malformed("DPAT sent bytes that belong to no file")
        left = memoryview(data)
        with storing(SLIDE):
            while left:
                count = os.write(self._fd, left)
                left = left[count:]
                self._written += count
        self._unchecked += len(data)
        if self._unchecked >= WRITE_BACK_BYTES:
            self._unchecked = 0
            self._room.check(self._folder, 0, SLIDE)
        if self._written - self._sent_back >= WRITE_BACK_BYTES:
            begin_write_back(self._fd, self._sent_back, self._written - self._sent_back)
            self._sent_back = self._written

    def end(self) -> None:
        if self._fd is None:
            raise Malformed("DPAT ended a file that had not begun")
        if self._expected is not None and self._written != self._expected:
            raise DownloadIncomplete(
                f"the slide's file {len(self._names)}: {self._expected} bytes announced, {self._written} came"
            )
        if self._written == 0:
            raise DownloadIncomplete(f"the slide's file {len(self._names)} is empty")
        with storing(SLIDE):
            os.fsync(self._fd)
        os.close(self._fd)
        self._fd = None

    def keep(self, *, keep_names: bool) -> list[Path]:
        """Rename every file to its final name, durably."""
        if not self._names:
            raise Malformed("DPAT sent no file of the slide")
        names = self._names if keep_names else neutral_names(self._names)
        paths = [self._folder / name for name in names]
        with storing(SLIDE):
            for number, path in enumerate(paths, start=1):
                self._aside(number).rename(path)
            fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        return paths
