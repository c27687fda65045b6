"""A slide's files as one answer: the bare file, or all of them as multipart, read in chunks while it is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from werkzeug.http import dump_options_header

from slidehook.simulator.options import MultipartKind

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Piece:
    """`size_bytes` from the beginning of a file, sent under `name`.

    `disposition` is sent as the Content-Disposition in place of the right one; an empty one: none is sent.
    """

    name: str
    path: Path
    size_bytes: int
    disposition: str | None = None

    def header(self, kind: str, **options: str) -> str | None:
        """Give the value of its Content-Disposition."""
        if self.disposition is not None:
            return self.disposition or None
        # Quoted also where it need not be, as DPAT does: there are clients that look for the quotes.
        if self.name.isascii():
            quoted = self.name.replace("\\", "\\\\").replace('"', '\\"')
            return f'{dump_options_header(kind, options)}; filename="{quoted}"'
        return dump_options_header(kind, {**options, "filename": self.name})


@dataclass(frozen=True)
class Download:
    """An answer's headers, its exact length in bytes, and the files in it."""

    headers: dict[str, str]
    size_bytes: int
    pieces: tuple[Piece, ...]
    heads: tuple[bytes, ...]
    tail: bytes

    def chunks(self) -> Iterator[bytes]:
        """Give the body in chunks of 1 MiB at most; raises OSError when a file has become shorter."""
        for head, piece in zip(self.heads, self.pieces, strict=True):
            if head:
                yield head
            yield from _read(piece)
        if self.tail:
            yield self.tail


def single(piece: Piece) -> Download:
    """Send one file as it is."""
    headers = {"Content-Type": "application/octet-stream"}
    if (disposition := piece.header("attachment")) is not None:
        # A header's text goes out as Latin-1, whatever the bytes of it mean.
        headers["Content-Disposition"] = disposition.encode().decode("latin-1")
    return Download(headers, piece.size_bytes, (piece,), (b"",), b"")


def several(pieces: Sequence[Piece], kind: MultipartKind, boundary: str) -> Download:
    """Send several files as `multipart/related` or `multipart/form-data`."""
    heads = []
    for number, piece in enumerate(pieces):
        disposition = piece.header("attachment") if kind == "related" else piece.header("form-data", name="files")
        named = f"Content-Disposition: {disposition}\r\n" if disposition else ""
        # The line break before a boundary belongs to it, not to the file before it.
        line_break = "\r\n" if number else ""
        head = f"{line_break}--{boundary}\r\nContent-Type: application/octet-stream\r\n{named}\r\n"
        heads.append(head.encode())
    tail = f"\r\n--{boundary}--\r\n".encode("ascii")
    size = sum(map(len, heads)) + sum(piece.size_bytes for piece in pieces) + len(tail)
    headers = {"Content-Type": f'multipart/{kind}; boundary="{boundary}"'}
    return Download(headers, size, tuple(pieces), tuple(heads), tail)


def _read(piece: Piece) -> Iterator[bytes]:
    left = piece.size_bytes
    with piece.path.open("rb", buffering=0) as file:
        while left:
            chunk = file.read(min(CHUNK_BYTES, left))
            if not chunk:
                raise OSError(f"{piece.name} has become shorter while it was sent")
            left -= len(chunk)
            yield chunk
