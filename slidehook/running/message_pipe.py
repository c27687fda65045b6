"""The line between a worker and the child that runs its apps: whole messages, and reads with a time limit."""

from __future__ import annotations

import io
import pickle
import select
import socket
import struct
import time
from collections.abc import Callable
from enum import Enum, EnumMeta
from typing import Any

MAX_MESSAGE_BYTES = 65 * 1024 * 1024
"""The largest message that a worker accepts: the largest result, and a little more."""
WAIT_S = 0.25
"""How often `waiting` is called while a message can't be sent, in seconds."""
_CHUNK = 1024 * 1024
_SIZE = struct.Struct("!Q")
_OURS = ("slidehook", "worker")
_DAMAGES = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
"""The errors of unpickling bytes that are no pickle."""


class Garbled(Exception):
    """The received bytes are not one of slidehook's messages."""


class HungUp(EOFError):
    """The other end is closed: nothing more can be received or sent."""


def new_line() -> tuple[Line, Line]:
    """Create the two ends of a line: the worker's, which unpickles only slidehook's classes, and the child's."""
    ours, theirs = socket.socketpair()
    return Line(ours, only_ours=True), Line(theirs)


class Line:
    """One end of a line. One thread may send and another receive."""

    def __init__(self, end: socket.socket, *, only_ours: bool = False) -> None:
        self._socket = end
        self._only_ours = only_ours
        self._received = bytearray()

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def keep_to_this_process(self) -> None:
        """Keep programs that this process starts from inheriting the line."""
        self._socket.set_inheritable(False)

    def send(self, message: object, waiting: Callable[[], None] | None = None) -> None:
        """Send any message that can be pickled. See `send_bytes`."""
        self.send_bytes(pickle.dumps(message), waiting)

    def send_bytes(self, content: bytes, waiting: Callable[[], None] | None = None) -> None:
        """Send a pickled message.

        While there is no room in the line, `waiting` is called about four times a second, and may raise to give up;
        without it there is no time limit. Raises HungUp.
        """
        left = memoryview(_SIZE.pack(len(content)) + content)
        while left:
            try:
                left = left[self._socket.send(left, 0 if waiting is None else socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                if waiting is not None:
                    waiting()
                _wait(self, select.POLLOUT, WAIT_S)
            except (BrokenPipeError, ConnectionResetError) as error:
                raise HungUp(str(error)) from error

    def poll(self, timeout_s: float = 0.0) -> bool:
        """Return whether a whole message has arrived; waits at most `timeout_s` seconds for it.

        Raises HungUp when none can arrive any more, and Garbled.
        """
        until = time.monotonic() + timeout_s
        while not self._is_whole():
            if not _wait(self, select.POLLIN, max(0.0, until - time.monotonic())):
                return False
            self._take()
        return True

    def recv(self) -> Any:
        """Return the next message; waits without a time limit unless `poll` has returned True."""
        while not self._is_whole():
            self._take()
        end = _SIZE.size + self._size()
        content = bytes(memoryview(self._received)[_SIZE.size : end])
        del self._received[:end]
        if not self._only_ours:
            return pickle.loads(content)  # noqa: S301 - from the worker
        try:
            return _OurUnpickler(io.BytesIO(content)).load()
        except _DAMAGES as error:
            raise Garbled(f"{type(error).__name__}: {error}") from error

    def _take(self) -> None:
        try:
            more = self._socket.recv(_CHUNK)
        except ConnectionResetError as error:
            raise HungUp(str(error)) from error
        if not more:
            raise HungUp("closed")
        self._received += more

    def _size(self) -> int:
        (size,) = _SIZE.unpack_from(self._received)
        if self._only_ours and size > MAX_MESSAGE_BYTES:
            raise Garbled(f"a message of {size} bytes")
        return int(size)

    def _is_whole(self) -> bool:
        return len(self._received) >= _SIZE.size and len(self._received) >= _SIZE.size + self._size()


class _OurUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "getattr"):
            return _member  # Python 3.11 before 3.11.4 pickles an enum's member as getattr(enum, name)
        if module.partition(".")[0] not in _OURS:
            raise pickle.UnpicklingError(f"{module}.{name} is not one of slidehook's classes")
        return super().find_class(module, name)


def _member(enum: object, name: str) -> Enum:
    """Return the member of an enum by its name; raises UnpicklingError for anything else."""
    if not (isinstance(enum, EnumMeta) and name in enum.__members__):
        raise pickle.UnpicklingError("an attribute that is no member of an enum")
    member: Enum = enum.__members__[name]
    return member


def _wait(line: Line, event: int, seconds: float) -> bool:
    poll = select.poll()  # not `select`, which is limited to the first 1024 files
    poll.register(line, event)
    return bool(poll.poll(seconds * 1000))
