from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from slidehook.background_writer import AHEAD, BackgroundWriter


def test_work_is_done_in_order_in_one_other_thread() -> None:
    done: list[int] = []
    threads: set[int] = set()

    def work(number: int) -> Callable[[], None]:
        def do() -> None:
            done.append(number)
            threads.add(threading.get_ident())

        return do

    with BackgroundWriter() as writer:
        for number in range(100):
            writer.do(work(number))
        writer.finish()
        assert done == list(range(100))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_the_queue_of_waiting_work_is_bounded() -> None:
    go_on = threading.Event()
    given: list[int] = []
    all_waiting = threading.Event()

    def give() -> None:
        with BackgroundWriter() as writer:
            for number in range(AHEAD + 5):
                writer.do(go_on.wait)  # type: ignore[arg-type]
                given.append(number)
                if len(given) == AHEAD:
                    all_waiting.set()
            writer.finish()

    giver = threading.Thread(target=give)
    giver.start()
    try:
        assert all_waiting.wait(120)
        giver.join(0.05)
        assert len(given) == AHEAD
    finally:
        go_on.set()
        giver.join(120)
    assert len(given) == AHEAD + 5


def fail() -> None:
    raise OSError("no room")


def test_an_error_reaches_the_waiting_caller_and_later_work_is_skipped() -> None:
    after: list[int] = []
    with BackgroundWriter() as writer, pytest.raises(OSError, match="no room"):  # noqa: PT012 - whichever of these waits first
        writer.do(fail)
        for number in range(100):
            writer.do(lambda number=number: after.append(number))  # type: ignore[misc]
        writer.finish()
    assert after == []


def test_an_error_in_the_last_piece_of_work_is_raised() -> None:
    with BackgroundWriter() as writer:
        writer.do(fail)
        with pytest.raises(OSError, match="no room"):
            writer.finish()


def test_when_the_caller_fails_the_thread_ends_and_waiting_work_is_skipped() -> None:
    begun, go_on = threading.Event(), threading.Event()
    after: list[int] = []

    def long() -> None:
        begun.set()
        go_on.wait(120)

    with pytest.raises(KeyError), BackgroundWriter() as writer:  # noqa: PT012 - the error is the test's own
        writer.do(long)
        writer.do(lambda: after.append(1))
        begun.wait(120)
        threading.Timer(0.05, go_on.set).start()
        raise KeyError
    assert after == []
    assert "behind" not in [each.name for each in threading.enumerate()]
