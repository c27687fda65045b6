"""Detects the end of a request that is being received; gunicorn's parser interprets its content."""

from __future__ import annotations

import re

MAX_HEAD_BYTES = 64 * 1024
_BLANK_LINE = b"\r\n\r\n"
_MAX_CHUNK_LINE_BYTES = 8 * 1024 + 256
"""Slightly more than gunicorn reads before it rejects a chunk's size line or a trailer."""
_HEALTH = re.compile(rb"(?:\r\n)?(?:GET|HEAD) /+healthz/*[ ?]")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}(?=[ \t;]|$)")


class IncomingRequest:
    """The bytes of a request, and any that its client sends after it.

    `max_body_bytes` is the largest body to wait for. This class only decides how long to wait: gunicorn determines
    where a request really ends. It may get a request early if it will reject that request anyway.
    """

    def __init__(self, max_body_bytes: int, data: bytes = b"") -> None:
        self.data = bytearray()
        self.complete = False
        """Whether there is nothing left to wait for."""
        self.truncated = False
        """Whether parts of this request may still arrive, so that no other request can follow on the connection."""
        self.wants_continue = False
        """Whether the client waits for "100 Continue" before sending the body."""
        self.has_head = False
        self.body_is_too_large = False
        """Whether the chunks exceed `max_body_bytes`. The application rejects a Content-Length that is too large."""
        self._max_body_bytes = max_body_bytes
        self._searched = 0
        self._end: int | None = None
        """The offset of the request's end; None while it is unknown."""
        self._chunk_at = 0
        self._chunks_bytes = 0
        self.feed(data)

    @property
    def is_health_check(self) -> bool:
        """Whether it is a request for `/healthz`."""
        return _HEALTH.match(self.data) is not None

    @property
    def head_is_too_large(self) -> bool:
        """Whether the head exceeds its size limit."""
        return not self.has_head and len(self.data) > MAX_HEAD_BYTES

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self.data += data
        if self.complete:
            return
        if not self.has_head:
            self._find_head()
        if self.has_head and not self.complete:
            if self._end is None:
                self._scan_chunks()
            if self._end is not None:
                self.complete = len(self.data) >= self._end

    def stop_waiting(self) -> None:
        """Treat the request as complete, because no more bytes will come or are needed."""
        self.complete = self.truncated = True

    def _find_head(self) -> None:
        at = self.data.find(_BLANK_LINE, max(0, self._searched - len(_BLANK_LINE)))
        self._searched = len(self.data)
        if at < 0:
            if self.data.count(b"\n") != self.data.count(b"\r\n"):  # gunicorn rejects such lines
                self.stop_waiting()
            return
        self.has_head = True
        self._read_head(bytes(self.data[:at]), at + len(_BLANK_LINE))

    def _read_head(self, head: bytes, body_at: int) -> None:
        fields = [line.partition(b":")[::2] for line in head.lower().split(b"\r\n")]
        lengths = [value.strip() for name, value in fields if name == b"content-length"]
        codings = [value.strip() for name, value in fields if name == b"transfer-encoding"]
        self.wants_continue = (b"expect", b"100-continue") in [(name, value.strip()) for name, value in fields]
        if codings == [b"chunked"] and not lengths:
            self._chunk_at = body_at
        elif len(lengths) == 1 and not codings and lengths[0].isdigit() and len(lengths[0]) < 20:
            length = int(lengths[0])
            if length > self._max_body_bytes:
                self.stop_waiting()
            self._end = body_at + length
        else:
            self._end = body_at
            if lengths or codings:
                self.stop_waiting()

    def _scan_chunks(self) -> None:
        """Advance over the chunks received so far."""
        while self._end is None and not self.complete:
            at = self.data.find(b"\r\n", self._chunk_at, self._chunk_at + _MAX_CHUNK_LINE_BYTES)
            if at < 0:
                if len(self.data) - self._chunk_at >= _MAX_CHUNK_LINE_BYTES:
                    self.stop_waiting()
                return
            size = _CHUNK_SIZE.match(bytes(self.data[self._chunk_at : at]))
            if size is None:
                self.stop_waiting()
                return
            if (count := int(size[0], 16)) == 0:
                self._find_end_of_trailer(at)
                return
            # Tiny chunks, or chunks with long extensions, may be many times larger than their content.
            if self._chunks_bytes + count > self._max_body_bytes or at > 2 * self._max_body_bytes + MAX_HEAD_BYTES:
                self.body_is_too_large = True
                self.stop_waiting()
                return
            next_at = at + 2 + count + 2
            if len(self.data) < next_at:
                return
            self._chunks_bytes += count
            if self.data[next_at - 2 : next_at] != b"\r\n":
                self.stop_waiting()
                return
            self._chunk_at = next_at

    def _find_end_of_trailer(self, at: int) -> None:
        """Find the end of the trailer fields after the last chunk, whose size line ends at `at`."""
        if self.data[at + 2 : at + 4] == b"\r\n":
            self._end = at + 4
        elif (end := self.data.find(_BLANK_LINE, at)) >= 0:
            self._end = end + len(_BLANK_LINE)
        elif len(self.data) - at > MAX_HEAD_BYTES:
            self.stop_waiting()
