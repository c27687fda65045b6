"""Faults injected by a test: which calls they affect, how, and how often."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from slidehook.simulator.errors import Malformed

Kind = Literal["status", "close", "cut", "stall", "delay", "html", "short", "headers", "parts"]


@dataclass(frozen=True)
class Fault:
    """A rule for calls whose path matches the regular expression `path`; raises Malformed if it is invalid.

    `status`: answers with `status` and `headers`; the call is not executed. `close`: closes the connection without an
    answer; the call is not executed. `cut`: executes the call, but closes the connection after `after_bytes` of the
    body, although Content-Length states all of it. `stall`: executes the call, sends `after_bytes` of the body,
    pauses for `seconds`, then sends the rest. `delay`: waits `seconds`, then answers normally. `html`: answers 200
    with an HTML page; the call is not executed. `short`: executes the call; the body (of the last file) ends after
    `after_bytes`, or half-way, and is otherwise valid. `headers`: executes the call; these `headers` replace the
    answer's own, and an empty value removes a header. `parts`: sends a slide's files with these `dispositions`, one
    per file (an empty one omits the header), and with this `boundary`.
    """

    path: str
    kind: Kind
    method: str | None = None
    count: int = 1
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    after_bytes: int | None = None
    seconds: float = 1.0
    dispositions: tuple[str, ...] = ()
    boundary: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise Malformed(f"There is no fault of kind {self.kind!r}.")
        try:
            re.compile(self.path)
        except re.error as error:
            raise Malformed(f"{self.path!r} is not a regular expression: {error}.") from error
        if self.count < 1 or self.seconds < 0 or (self.after_bytes or 0) < 0 or not 100 <= self.status < 600:
            raise Malformed("A fault's count, seconds, after_bytes or status is out of range.")

    def hits(self, method: str, path: str) -> bool:
        """Whether the rule applies to this call."""
        return self.method in (None, method) and re.search(self.path, path) is not None

    def kept_bytes(self, size_bytes: int) -> int:
        """Return how many bytes of a body of `size_bytes` a `short` answer sends."""
        half = size_bytes // 2
        return min(size_bytes, half if self.after_bytes is None else self.after_bytes)

    def to_json(self) -> dict[str, Any]:
        """Return the rule's JSON for /sim; `count` is the remaining count."""
        return dict(self.__dict__)


class Faults:
    """The rules in the order of their addition; each is removed after `count` calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Append a rule."""
        with self._lock:
            self._rules.append(fault)

    def take(self, method: str, path: str) -> Fault | None:
        """Return the first rule that applies to this call, and decrement its count."""
        with self._lock:
            for index, fault in enumerate(self._rules):
                if fault.hits(method, path):
                    if fault.count > 1:
                        self._rules[index] = replace(fault, count=fault.count - 1)
                    else:
                        del self._rules[index]
                    return fault
        return None

    def all(self) -> list[Fault]:
        """Return the remaining rules."""
        with self._lock:
            return list(self._rules)

    def clear(self) -> None:
        """Remove all rules."""
        with self._lock:
            self._rules.clear()
