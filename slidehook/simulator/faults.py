"""Faults that a test asks for: which calls are hit, how, and how often."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from slidehook.simulator.errors import Malformed

Kind = Literal["status", "close", "cut", "stall", "delay", "html", "short", "headers", "parts"]


@dataclass(frozen=True)
class Fault:
    """A rule for calls whose path `path` (a regular expression) is found in; raises Malformed if it makes no sense.

    `status`: answered with `status` and `headers`, not carried out. `close`: the connection ends before any
    answer, nothing is carried out. `cut`: carried out, but the connection ends after `after_bytes` of the body,
    while Content-Length promised all of it. `stall`: carried out, `after_bytes` of the body come, then nothing
    for `seconds`, then the rest. `delay`: waits `seconds`, then answers rightly. `html`: 200 with an HTML page,
    not carried out. `short`: carried out; the body (of the last file) ends after `after_bytes`, or half-way,
    with nothing else amiss. `headers`: carried out; the answer has these `headers` in place of its own, and not those
    whose value is empty. `parts`: a slide's files come with these `dispositions`, one for each file (an empty one:
    without), and `boundary` between them.
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
            raise Malformed(f"There is no fault of the kind {self.kind!r}.")
        try:
            re.compile(self.path)
        except re.error as error:
            raise Malformed(f"{self.path!r} is not a regular expression: {error}.") from error
        if self.count < 1 or self.seconds < 0 or (self.after_bytes or 0) < 0 or not 100 <= self.status < 600:
            raise Malformed("A fault's count, seconds, after_bytes or status is out of range.")

    def hits(self, method: str, path: str) -> bool:
        """Say whether the rule is for this call."""
        return self.method in (None, method) and re.search(self.path, path) is not None

    def kept_bytes(self, size_bytes: int) -> int:
        """Give how many bytes of a body of `size_bytes` a `short` answer keeps."""
        half = size_bytes // 2
        return min(size_bytes, half if self.after_bytes is None else self.after_bytes)

    def to_json(self) -> dict[str, Any]:
        """Give the rule as /sim shows it; `count` is what is left of it."""
        return dict(self.__dict__)


class Faults:
    """The rules in the order they were given; each is used up by the calls that it hits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Add a rule, after those there are."""
        with self._lock:
            self._rules.append(fault)

    def take(self, method: str, path: str) -> Fault | None:
        """Give the first rule for this call, which has one use less from now on."""
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
        """Give the rules that are not used up."""
        with self._lock:
            return list(self._rules)

    def clear(self) -> None:
        """Forget all rules."""
        with self._lock:
            self._rules.clear()
