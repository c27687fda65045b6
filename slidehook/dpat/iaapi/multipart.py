"""Parses a multipart body (RFC 2046) as a stream, in constant memory."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

from slidehook.dpat.errors import DownloadIncomplete, Malformed

_LIBC = ctypes.CDLL(None)
_LIBC.memmem.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
_LIBC.memmem.restype = ctypes.c_void_p
MAX_HEAD_BYTES = 16 * 1024
"""The most bytes of a part's headers."""
MAX_PREAMBLE_BYTES = 1024 * 1024
"""The most bytes before the first part."""
MAX_PARTS = 10_000
"""The most parts in an answer: a slide has at most some hundred files."""


@dataclass(frozen=True)
class PartHead:
    """The start of a part: its headers by lower-case name."""

    headers: dict[str, str]


class PartEnd:
    """The end of a part: its closing delimiter has been read."""


def read_parts(chunks: Iterable[bytes], boundary: str) -> Iterator[PartHead | memoryview | PartEnd]:
    """Yield each part's head, its bytes in pieces, and its end.

    The parts do not depend on how the body is split into chunks. Raises DownloadIncomplete when the body ends before
    its closing delimiter, Malformed when it is not a multipart body.
    """
    stream = _Buffer(chunks)
    # A delimiter starts a line; with this line break, the first one does too.
    stream.data = b"\r\n"
    mark = b"\r\n--" + boundary.encode("latin-1", "replace")
    before = 0
    for piece in _until_delimiter(stream, mark):
        before += len(piece)  # the preamble is ignored
        if before > MAX_PREAMBLE_BYTES:
            raise Malformed("DPAT's multipart answer does not begin with a part")
    for number in count():
        if _is_closing(stream):
            return
        if number == MAX_PARTS:
            raise Malformed(f"DPAT's multipart answer has more than {MAX_PARTS} parts")
        yield PartHead(_read_head(stream))
        yield from _until_delimiter(stream, mark)
        yield PartEnd()


class _Buffer:
    """The bytes that are received but not yet parsed."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.data = b""

    def more(self) -> None:
        for chunk in self._chunks:
            if chunk:
                self.data = self.data + chunk if self.data else chunk
                return
        raise DownloadIncomplete("DPAT's multipart answer ended before its closing boundary")

    def need(self, count: int) -> None:
        while len(self.data) < count:
            self.more()


def _until_delimiter(stream: _Buffer, mark: bytes) -> Iterator[memoryview]:
    """Yield the bytes before the next delimiter; the buffer then starts after its mark."""
    start = 0
    while True:
        at = _find(stream.data, mark, start)
        if at < 0:
            # Everything before a possible beginning of a mark belongs to the part.
            keep = len(mark) - 1
            if len(stream.data) > keep:
                yield memoryview(stream.data)[:-keep]
                stream.data = stream.data[-keep:]
            start = 0
            stream.more()
        elif _is_delimiter(stream, at + len(mark)):
            if at:
                yield memoryview(stream.data)[:at]
            stream.data = stream.data[at + len(mark) :]
            return
        else:
            start = at + 2


def _find(data: bytes, mark: bytes, start: int) -> int:
    """Like `data.find(mark, start)`, but three times faster when the mark is absent, the common case."""
    if start == 0 and _LIBC.memmem(data, len(data), mark, len(mark)) is None:
        return -1
    return data.find(mark, start)


def _is_delimiter(stream: _Buffer, end: int) -> bool:
    """Whether the line continues as a delimiter: with `--`, or with blanks up to the line's end."""
    stream.need(end + 2)
    if stream.data[end : end + 2] == b"--":
        return True
    while True:
        rest = stream.data[end : end + MAX_HEAD_BYTES].lstrip(b" \t")
        if len(rest) >= 2:
            return rest.startswith(b"\r\n")
        if len(stream.data) - end >= MAX_HEAD_BYTES:
            return False
        stream.more()


def _is_closing(stream: _Buffer) -> bool:
    if stream.data.startswith(b"--"):
        return True
    # The line break stays: a part without headers begins with an empty line.
    stream.data = stream.data.lstrip(b" \t")
    return False


def _read_head(stream: _Buffer) -> dict[str, str]:
    while (end := stream.data.find(b"\r\n\r\n")) < 0:
        if len(stream.data) > MAX_HEAD_BYTES:
            raise Malformed("a part of DPAT's multipart answer has headers without end")
        stream.more()
    lines = stream.data[:end].decode("utf-8", "replace").replace("\r\n ", " ").replace("\r\n\t", " ")
    stream.data = stream.data[end + 4 :]
    headers: dict[str, str] = {}
    for line in lines.split("\r\n"):
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if colon and name in headers and name != "content-disposition":
            headers[name] += f", {value.strip()}"
        elif colon:
            headers[name] = value.strip()
    return headers
