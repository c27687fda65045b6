from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidehook.dpat.errors import DownloadIncomplete, Malformed
from slidehook.dpat.iaapi.multipart import PartEnd, PartHead, read_parts

Part = tuple[dict[str, str], bytes]
BOUNDARY_SIGNS = "abcXYZ0189'()+_,-./:=? "
"""All characters that RFC 2046 allows; a space may not be the last."""


@dataclass(frozen=True)
class Body:
    """A multipart body and its parts. `closed` is the offset of the end of its closing delimiter."""

    boundary: str
    content: bytes
    closed: int
    parts: list[Part]


def build(
    boundary: str, parts: list[Part], *, preamble: bytes = b"", epilogue: bytes = b"", padding: bytes = b""
) -> Body:
    content = preamble + b"\r\n" if preamble else b""
    for headers, body in parts:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
        content += b"--" + boundary.encode() + padding + b"\r\n" + lines + b"\r\n" + body + b"\r\n"
    content += b"--" + boundary.encode() + b"--"
    return Body(boundary, content + epilogue, len(content), parts)


def collect(chunks: Iterable[bytes], boundary: str) -> list[Part]:
    parts: list[Part] = []
    pieces: list[bytes] = []
    headers: dict[str, str] | None = None
    for event in read_parts(chunks, boundary):
        if isinstance(event, PartHead):
            assert headers is None, "a part begins within a part"
            headers, pieces = event.headers, []
        elif isinstance(event, PartEnd):
            assert headers is not None, "a part ends that had not begun"
            parts.append((headers, b"".join(pieces)))
            headers = None
        else:
            assert headers is not None, "bytes that belong to no part"
            pieces.append(bytes(event))
    assert headers is None, "the last part has no end"
    return parts


def chunked(content: bytes, cuts: Iterable[int]) -> Iterator[bytes]:
    start = 0
    for cut in sorted(cuts):
        yield content[start:cut]
        start = max(start, cut)
    yield content[start:]


@st.composite
def bodies(draw: st.DrawFn) -> Body:
    boundary = draw(st.text(BOUNDARY_SIGNS, min_size=1, max_size=70).filter(lambda each: not each.endswith(" ")))
    mark = b"\r\n--" + boundary.encode()
    # Text that looks like the beginning of a delimiter is the difficult case for a parser.
    lookalikes = [
        mark[:-1],
        mark + b"x",
        mark + b"\rx",
        mark + b" \t.",
        mark[2:-1],
        b"\r",
        b"\n",
        b"\r\n",
        b"--",
        b"\r\n\r\n",
    ]
    piece = st.one_of(st.binary(max_size=40), st.sampled_from(lookalikes))
    raw = st.lists(piece, max_size=8).map(b"".join)
    # A body can't contain a delimiter, not even across the border of two parts.
    text = raw.filter(lambda each: not delimits(b"\r\n" + each + b"\r\n", boundary))
    headers = st.dictionaries(
        st.sampled_from(["content-type", "x-a", "content-disposition"]),
        st.text('abc;="/ .', max_size=9).map(str.strip),
    )
    parts = draw(st.lists(st.tuples(headers, text), min_size=1, max_size=4))
    padding = draw(st.sampled_from([b"", b" ", b"\t  "]))
    epilogue = draw(st.sampled_from([b"", b"\r\n", b"\r\nafter", b"\r\n--" + boundary.encode() + b"\r\n"]))
    return build(boundary, parts, preamble=draw(text), epilogue=epilogue, padding=padding)


def delimits(text: bytes, boundary: str) -> bool:
    """Whether the text contains a delimiter: an independent, slow implementation of RFC 2046."""
    lines = text.split(b"\r\n")[1:]
    mark = b"--" + boundary.encode()
    return any(
        line.startswith(mark) and (line[len(mark) :].strip(b" \t") == b"" or line[len(mark) :].startswith(b"--"))
        for line in lines
    )


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_the_parts_do_not_depend_on_the_splitting_of_the_stream(data: st.DataObject) -> None:
    body = data.draw(bodies())
    cuts = data.draw(st.lists(st.integers(0, len(body.content)), max_size=12))
    assert collect(chunked(body.content, cuts), body.boundary) == body.parts


@given(bodies())
@settings(max_examples=60, deadline=None)
def test_a_stream_of_single_bytes_has_the_same_parts(body: Body) -> None:
    every_byte = range(len(body.content))
    assert collect(chunked(body.content, every_byte), body.boundary) == body.parts


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_stream_that_ends_before_its_closing_delimiter_is_incomplete(data: st.DataObject) -> None:
    body = data.draw(bodies())
    cut = data.draw(st.integers(0, body.closed - 1))
    with pytest.raises(DownloadIncomplete):
        collect([body.content[:cut]], body.boundary)


def test_a_stream_truncated_anywhere_ends_only_complete_parts() -> None:
    body = build("b", [({"a": "1"}, b"first\r\n--"), ({}, b""), ({}, b"--bx\r\n--")], epilogue=b"\r\n")
    for cut in range(body.closed):
        ended: list[bytes] = []
        pieces: list[bytes] = []
        with pytest.raises(DownloadIncomplete):  # noqa: PT012 - the parts before the error are checked
            for event in read_parts([body.content[:cut]], "b"):
                if isinstance(event, memoryview):
                    pieces.append(bytes(event))
                elif isinstance(event, PartEnd):
                    ended.append(b"".join(pieces))
                    pieces = []
        assert ended == [content for _, content in body.parts][: len(ended)]


def test_header_names_come_in_lower_case_and_folded_lines_joined() -> None:
    content = b'--b\r\nContent-DISPOSITION: attachment;\r\n filename="a.svs"\r\nno colon\r\n\r\nx\r\n--b--'
    assert collect([content], "b") == [({"content-disposition": 'attachment; filename="a.svs"'}, b"x")]


def test_a_body_without_parts_is_empty() -> None:
    assert collect([b"--b--"], "b") == []


def test_endless_headers_are_refused_within_bounded_memory() -> None:
    def endless() -> Iterator[bytes]:
        yield b"--b\r\n"
        for _ in range(100):
            yield b"x" * 1024
        raise AssertionError("read on and on")

    with pytest.raises(Malformed, match="headers without end"):
        collect(endless(), "b")


def test_endless_padding_is_not_a_delimiter_and_takes_bounded_memory() -> None:
    padded = b"--b" + b" " * 40_000 + b"\r\n"
    content = b"--b\r\n\r\nx\r\n" + padded + b"--b--"
    assert collect(chunked(content, range(0, len(content), 1000)), "b") == [({}, b"x\r\n" + padded[:-2])]


def test_memory_does_not_grow_with_a_part() -> None:
    megabyte, count = bytes(range(256)) * 4096, 64

    def chunks() -> Iterator[bytes]:
        yield b"--b\r\nContent-Type: image/tiff\r\n\r\n"
        for _ in range(count):
            yield megabyte
        yield b"\r\n--b--"

    came = 0
    tracemalloc.start()
    try:
        for event in read_parts(chunks(), "b"):
            came += len(event) if isinstance(event, memoryview) else 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert came == count * len(megabyte)
    assert peak < 6 * len(megabyte)
