"""A slide's files as one answer: a bare file or a multipart body, streamed in chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from werkzeug.http import dump_options_header

from slidehook.simulator.options import MultipartKind

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class FilePart:
    """`size_bytes` from the beginning of a file, sent under `name`.

    `disposition` replaces the correct Content-Disposition; an empty one omits the header.
    """

    name: str
    path: Path
    size_bytes: int
    disposition: str | None = None

    def header(self, kind: str, **options: str) -> str | None:
        """Return the value of its Content-Disposition, or None to omit it."""
        if self.disposition is not None:
            return self.disposition or None
        # Always quoted, as DPAT does, because some clients expect the quotes.
        if self.name.isascii():
            quoted = self.name.replace("\\", "\\\\").replace('"', '\\"')
            return f'{dump_options_header(kind, options)}; filename="{quoted}"'
        return dump_options_header(kind, {**options, "filename": self.name})


@dataclass(frozen=True)
class Download:
    """An answer's headers, its exact length in bytes, and the files in it."""

    headers: dict[str, str]
    size_bytes: int
    pieces: tuple[FilePart, ...]
    heads: tuple[bytes, ...]
    tail: bytes

    def chunks(self) -> Iterator[bytes]:
        """Yield the body in chunks of 1 MiB at most; raises OSError when a file has shrunk."""
        for head, piece in zip(self.heads, self.pieces, strict=True):
            if head:
                yield head
            yield from _read(piece)
        if self.tail:
            yield self.tail


def single_file(piece: FilePart) -> Download:
    """Return the answer for one bare file."""
    headers = {"Content-Type": "application/octet-stream"}
    if (disposition := piece.header("attachment")) is not None:
        # WSGI encodes header values as Latin-1, so raw UTF-8 bytes must pass through that.
        headers["Content-Disposition"] = disposition.encode().decode("latin-1")
    return Download(headers, piece.size_bytes, (piece,), (b"",), b"")


def multipart_files(pieces: Sequence[FilePart], kind: MultipartKind, boundary: str) -> Download:
    """Return the answer for several files, as `multipart/related` or `multipart/form-data`."""
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


def _read(piece: FilePart) -> Iterator[bytes]:
    left = piece.size_bytes
    with piece.path.open("rb", buffering=0) as file:
        while left:
            chunk = file.read(min(CHUNK_BYTES, left))
            if not chunk:
                raise OSError(f"{piece.name} has shrunk while being sent")
            left -= len(chunk)
            yield chunk
