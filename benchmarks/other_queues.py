"""The same work on other queues that live in files: a durable put, then a claim and its end, one after the other.

What each promises differs, and stands beside its figures: none of them takes over from a dead worker.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

COUNT = 1_000
PAYLOAD = "x" * 450

Figures = dict[str, Any]


def others(base: Path) -> dict[str, Figures]:
    """Measure those that are installed."""
    known: dict[str, tuple[str, Callable[[Path], Figures]]] = {
        "huey FileStorage": ("huey", _huey),
        "persist-queue SQLiteAckQueue": ("persistqueue", _persist_queue),
        "litequeue": ("litequeue", _litequeue),
    }
    return {
        name: measure(base) if find_spec(module) else {"not installed": "uv sync --group benchmark"}
        for name, (module, measure) in known.items()
    }


def _timed(put: Callable[[int], object], take: Callable[[], object]) -> Figures:
    began = time.perf_counter()
    for number in range(COUNT):
        put(number)
    put_s = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(COUNT):
        take()
    take_s = time.perf_counter() - began
    return {"put_per_s": round(COUNT / put_s), "claim_and_finish_per_s": round(COUNT / take_s)}


def _huey(base: Path) -> Figures:
    storage = import_module("huey.storage").FileStorage("benchmark", str(base / "huey"))
    figures = _timed(lambda _: storage.enqueue(PAYLOAD.encode()), storage.dequeue)
    return figures | {"durable": False, "job_survives_its_worker": False}


def _persist_queue(base: Path) -> Figures:
    queue = import_module("persistqueue").SQLiteAckQueue(str(base / "persist"), auto_commit=True)
    figures = _timed(lambda _: queue.put(PAYLOAD), lambda: queue.ack(queue.get()))
    return figures | {"durable": True, "job_survives_its_worker": "when one process restarts alone"}


def _litequeue(base: Path) -> Figures:
    queue = import_module("litequeue").LiteQueue(str(base / "lite.sqlite3"))
    figures = _timed(lambda _: queue.put(PAYLOAD), lambda: queue.done(queue.pop().message_id))
    return figures | {"durable": "by SQLite's WAL", "job_survives_its_worker": "by a lease of its user's own"}
