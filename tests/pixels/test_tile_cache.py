from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from slidehook.pixels.source import Pixels
from slidehook.pixels.tile_cache import TileCache

TILE = np.zeros((10, 10, 3), np.uint8)


def test_threads_that_ask_for_the_same_tile_have_it_made_once() -> None:
    cache: TileCache[int] = TileCache(10 * TILE.nbytes)
    made: list[int] = []
    others = threading.Barrier(4)

    def make() -> Pixels:
        made.append(1)
        return TILE.copy()

    def get(_: int) -> Pixels:
        others.wait(120)
        return cache.get(7, make)

    with ThreadPoolExecutor(4) as pool:
        assert len({id(each) for each in pool.map(get, range(4))}) == 1
    assert len(made) == 1


def test_the_tiles_that_were_used_last_are_kept() -> None:
    cache: TileCache[int] = TileCache(3 * TILE.nbytes)
    made: list[int] = []

    def get(key: int) -> None:
        cache.get(key, lambda: made.append(key) or TILE.copy())  # type: ignore[func-returns-value]

    for key in (1, 2, 3, 1, 4, 1, 3, 2):
        get(key)
    assert made == [1, 2, 3, 4, 2]
    cache.clear()
    get(1)
    assert made[-1] == 1


def test_what_can_not_be_made_is_tried_again() -> None:
    cache: TileCache[int] = TileCache(TILE.nbytes)

    def fail() -> Pixels:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        cache.get(1, fail)
    assert cache.get(1, TILE.copy).shape == TILE.shape
