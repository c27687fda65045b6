"""Caches decoded tiles up to a number of bytes; if several threads request a tile, it is decoded once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from slidehook.pixels.source import Pixels

_Key = TypeVar("_Key")


class TileCache(Generic[_Key]):
    """The most recently used tiles, at most `max_bytes` in total. Thread-safe."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._tiles: OrderedDict[_Key, Pixels] = OrderedDict()
        self._bytes = 0
        self._making: dict[_Key, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: _Key, make: Callable[[], Pixels]) -> Pixels:
        """Return the tile of `key`; if it is not cached, one thread calls `make` for it. Raises as `make` does."""
        with self._lock:
            if (known := self._known(key)) is not None:
                return known
            making = self._making.setdefault(key, threading.Lock())
        try:
            with making:
                with self._lock:
                    if (known := self._known(key)) is not None:
                        return known
                tile = make()
                with self._lock:
                    self._keep(key, tile)
        finally:
            with self._lock:
                self._making.pop(key, None)
        return tile

    def clear(self) -> None:
        """Drop all tiles."""
        with self._lock:
            self._tiles.clear()
            self._bytes = 0

    def _known(self, key: _Key) -> Pixels | None:
        if (known := self._tiles.get(key)) is not None:
            self._tiles.move_to_end(key)
        return known

    def _keep(self, key: _Key, tile: Pixels) -> None:
        if key not in self._tiles:
            self._tiles[key] = tile
            self._bytes += tile.nbytes
        while self._bytes > self._max_bytes and len(self._tiles) > 1:
            self._bytes -= self._tiles.popitem(last=False)[1].nbytes
