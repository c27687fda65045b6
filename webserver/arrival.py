"""A request while it comes in: whether all of it is there. What it means is left to gunicorn's parser."""

from __future__ import annotations

import re

MOST_HEAD_BYTES = 64 * 1024
_BLANK = b"\r\n\r\n"
_MOST_CHUNK_LINE_BYTES = 8 * 1024 + 256
"""A little more than gunicorn reads before it refuses a chunk's size, or a trailer."""
_HEALTH = re.compile(rb"(?:\r\n)?(?:GET|HEAD) /+healthz/*[ ?]")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}(?=[ \t;]|$)")


class Arrival:
    """The bytes of a request, and of what its client sends after it.

    `most_bytes`: the largest body that is waited for. This decides only how long to wait: where a request really
    ends is for gunicorn to say, and what it refuses may be given to it before its end.
    """

    def __init__(self, most_bytes: int, data: bytes = b"") -> None:
        self.data = bytearray()
        self.whole = False
        """Whether there is nothing more to wait for."""
        self.cut = False
        """Whether more may come that belongs to this request, so that no other can follow on the connection."""
        self.wants_continue = False
        """Whether the client waits for "100 Continue" before it sends the body."""
        self.head_is_there = False
        self.body_is_too_large = False
        """Whether the chunks are more than is waited for. A length that is too large is left to the application."""
        self._most_bytes = most_bytes
        self._searched = 0
        self._end: int | None = None
        """Where the request ends; None while its head or its chunks don't tell."""
        self._chunk_at = 0
        self._chunks_bytes = 0
        self.add(data)

    @property
    def asks_for_health(self) -> bool:
        """Whether it is the question of somebody who watches this webserver."""
        return _HEALTH.match(self.data) is not None

    @property
    def head_is_too_large(self) -> bool:
        """Whether so much has come that its head is none that is read."""
        return not self.head_is_there and len(self.data) > MOST_HEAD_BYTES

    def add(self, data: bytes) -> None:
        """Take what has come."""
        self.data += data
        if self.whole:
            return
        if not self.head_is_there:
            self._look_for_head()
        if self.head_is_there and not self.whole:
            if self._end is None:
                self._look_for_chunks()
            if self._end is not None:
                self.whole = len(self.data) >= self._end

    def give_up(self) -> None:
        """Take it as it is: nothing more comes, or nothing more is wanted."""
        self.whole = self.cut = True

    def _look_for_head(self) -> None:
        at = self.data.find(_BLANK, max(0, self._searched - len(_BLANK)))
        self._searched = len(self.data)
        if at < 0:
            if self.data.count(b"\n") != self.data.count(b"\r\n"):  # gunicorn refuses such lines
                self.give_up()
            return
        self.head_is_there = True
        self._read_head(bytes(self.data[:at]), at + len(_BLANK))

    def _read_head(self, head: bytes, body_at: int) -> None:
        fields = [line.partition(b":")[::2] for line in head.lower().split(b"\r\n")]
        lengths = [value.strip() for name, value in fields if name == b"content-length"]
        codings = [value.strip() for name, value in fields if name == b"transfer-encoding"]
        self.wants_continue = (b"expect", b"100-continue") in [(name, value.strip()) for name, value in fields]
        if codings == [b"chunked"] and not lengths:
            self._chunk_at = body_at
        elif len(lengths) == 1 and not codings and lengths[0].isdigit() and len(lengths[0]) < 20:
            length = int(lengths[0])
            if length > self._most_bytes:
                self.give_up()
            self._end = body_at + length
        else:
            self._end = body_at
            if lengths or codings:
                self.give_up()

    def _look_for_chunks(self) -> None:
        """Go on from chunk to chunk, as far as they have come."""
        while self._end is None and not self.whole:
            at = self.data.find(b"\r\n", self._chunk_at, self._chunk_at + _MOST_CHUNK_LINE_BYTES)
            if at < 0:
                if len(self.data) - self._chunk_at >= _MOST_CHUNK_LINE_BYTES:
                    self.give_up()
                return
            size = _CHUNK_SIZE.match(bytes(self.data[self._chunk_at : at]))
            if size is None:
                self.give_up()
                return
            if (count := int(size[0], 16)) == 0:
                self._look_for_trailer(at)
                return
            # Chunks of one byte, or with long names, may take many times the bytes that they carry.
            if self._chunks_bytes + count > self._most_bytes or at > 2 * self._most_bytes + MOST_HEAD_BYTES:
                self.body_is_too_large = True
                self.give_up()
                return
            next_at = at + 2 + count + 2
            if len(self.data) < next_at:
                return
            self._chunks_bytes += count
            if self.data[next_at - 2 : next_at] != b"\r\n":
                self.give_up()
                return
            self._chunk_at = next_at

    def _look_for_trailer(self, at: int) -> None:
        """Look for the end of the fields behind the last chunk, whose size's line ends `at`."""
        if self.data[at + 2 : at + 4] == b"\r\n":
            self._end = at + 4
        elif (end := self.data.find(_BLANK, at)) >= 0:
            self._end = end + len(_BLANK)
        elif len(self.data) - at > MOST_HEAD_BYTES:
            self.give_up()
