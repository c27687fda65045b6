"""Maps a function over items in threads, in order, with a bounded number of pending items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_A = TypeVar("_A")
_B = TypeVar("_B")


def ordered_map(
    work: Callable[[_A], _B], items: Iterable[_A], *, threads: int, max_pending: int, name: str
) -> Iterator[_B]:
    """Yield `work(item)` for each item, in order; `threads` calls run at once, at most `max_pending` results wait.

    Reads an item only when there is room for it. Raises what `work` or `items` raises; then running calls
    finish, and no further call starts.
    """
    under_way: deque[Future[_B]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    try:
        for item in items:
            under_way.append(pool.submit(work, item))
            if len(under_way) >= max_pending:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
