"""Does work in threads ahead of the one who takes its results, in order, with only so much under way at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_A = TypeVar("_A")
_B = TypeVar("_B")


def ordered_map(
    work: Callable[[_A], _B], items: Iterable[_A], *, threads: int, ahead: int, name: str
) -> Iterator[_B]:
    """Give `work(item)` of each item, in order: `threads` of them at once, `ahead` of them begun but not yet taken.

    An item is taken only when there is room for it. What `work` or `items` raise is raised here; what is under way
    then is finished, and the rest not begun.
    """
    under_way: deque[Future[_B]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    try:
        for item in items:
            under_way.append(pool.submit(work, item))
            if len(under_way) >= ahead:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
