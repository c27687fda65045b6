from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from slidehook.pixels.ordered_map import ordered_map


def test_results_come_in_the_order_of_their_items_though_later_ones_are_done_first() -> None:
    second_is_done = threading.Event()

    def work(number: int) -> int:
        if number == 0:
            assert second_is_done.wait(120)
        elif number == 1:
            second_is_done.set()
        return number

    assert list(ordered_map(work, range(5), threads=2, max_pending=2, name="test")) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("max_pending", [1, 3])
def test_no_more_is_under_way_than_was_asked_for(max_pending: int) -> None:
    pulled = 0

    def items() -> Iterator[int]:
        nonlocal pulled
        for number in range(40):
            pulled += 1
            yield number

    for taken, number in enumerate(
        ordered_map(lambda item: item, items(), threads=2, max_pending=max_pending, name="test"), 1
    ):
        assert number == taken - 1
        assert pulled - taken < max_pending
    assert pulled == 40


def test_what_the_work_raises_is_raised_and_the_rest_is_not_begun() -> None:
    begun = []

    def work(number: int) -> None:
        begun.append(number)
        raise LookupError(f"item {number}")

    with pytest.raises(LookupError, match="item 0"):
        list(ordered_map(work, range(100), threads=1, max_pending=2, name="test"))
    assert len(begun) <= 3
