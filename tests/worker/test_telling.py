from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Iterator

import pytest

from slidehook.running.child_channel import SEND_EVERY_S, ChildReporter, ChildSecrets, ProgressMessage, TokenRefused
from slidehook.running.message_pipe import Line, new_line

ENOUGH_S = 120.0


@pytest.fixture
def ends() -> Iterator[tuple[Line, Line]]:
    """The worker's end of a pipe, and the child's."""
    workers, childs = new_line()
    yield workers, childs
    workers.close()
    childs.close()


@pytest.fixture
def worker(ends: tuple[Line, Line]) -> Line:
    return ends[0]


@pytest.fixture
def teller(ends: tuple[Line, Line]) -> ChildReporter:
    return ChildReporter(ends[1])


def heard(worker: Line) -> list[object]:
    """Return all that the child says until the analysis has ended."""
    messages: list[object] = []
    while True:
        assert worker.poll(ENOUGH_S), "the child says nothing"
        message = worker.recv()
        if message == "the end":
            return messages
        messages.append(message)


def end(teller: ChildReporter) -> None:
    teller.end(pickle.dumps("the end"))


def test_the_first_step_is_sent_at_once_and_the_newest_before_the_end(worker: Line, teller: ChildReporter) -> None:
    for percent in (1, 2, 3):
        teller.progress(percent, "computing")
    end(teller)
    assert heard(worker) == [ProgressMessage(1, "computing"), ProgressMessage(3, "computing")]


def test_the_newest_of_several_steps_is_sent_a_little_later_though_no_other_follows(
    worker: Line, teller: ChildReporter
) -> None:
    for percent in (1, 2, 3):
        teller.progress(percent, "loading")
    assert worker.recv() == ProgressMessage(1, "loading")
    assert worker.poll(ENOUGH_S)
    assert worker.recv() == ProgressMessage(3, "loading")
    end(teller)


def test_a_step_is_clipped_and_never_without_words(worker: Line, teller: ChildReporter) -> None:
    steps = []
    for percent, text in ((-5.0, "low"), (250.0, ""), (7.0, "x" * 10_000)):
        teller.progress(percent, text)
        assert worker.poll(ENOUGH_S)
        steps.append(worker.recv())
    assert steps[:2] == [ProgressMessage(0, "low"), ProgressMessage(100, "analysing")]
    assert len(steps[2].text) < 1000


def test_an_app_never_waits_for_a_worker_that_does_not_listen(worker: Line, teller: ChildReporter) -> None:
    ended = threading.Event()

    def chatter() -> None:
        until = time.monotonic() + 3 * SEND_EVERY_S
        while time.monotonic() < until:
            teller.progress(1, "x" * 400)
        teller._sent_at = float("-inf")  # as if each step had come long after the one before
        for percent in range(5000):
            teller.progress(percent / 50, "y" * 400)
            teller._sent_at = float("-inf")
        ended.set()

    thread = threading.Thread(target=chatter)
    thread.start()
    assert ended.wait(ENOUGH_S), "the pipe is full, and the app stands still"
    thread.join()
    listening = threading.Thread(target=end, args=[teller])
    listening.start()
    last = heard(worker)[-1]
    listening.join()
    assert isinstance(last, ProgressMessage)
    assert last.percent == pytest.approx(4999 / 50)


def test_after_the_end_nothing_is_said(worker: Line, teller: ChildReporter) -> None:
    end(teller)
    teller.progress(1, "late")
    assert heard(worker) == []
    assert not worker.poll(2 * SEND_EVERY_S)


def test_a_thread_that_an_app_left_behind_neither_asks_for_tokens_nor_takes_the_next_task(
    ends: tuple[Line, Line], teller: ChildReporter
) -> None:
    worker, child = ends
    end(teller)
    worker.send("the next task")
    assert ChildSecrets("old", teller).instead_of("old") is None
    assert heard(worker) == []
    assert not worker.poll()
    assert child.recv() == "the next task"


def test_a_token_that_dpat_refuses_is_replaced_by_the_worker_once_for_all_threads(
    worker: Line, teller: ChildReporter
) -> None:
    tokens = ChildSecrets("old", teller)
    asked: list[object] = []

    def answer() -> None:
        asked.append(worker.recv())
        worker.send("new")

    answering = threading.Thread(target=answer)
    answering.start()
    given: list[str | None] = []
    threads = [threading.Thread(target=lambda: given.append(tokens.instead_of("old"))) for _ in range(5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(ENOUGH_S)
    answering.join(ENOUGH_S)
    assert given == ["new"] * 5
    assert tokens.secret() == "new"
    assert asked == [TokenRefused("old")]
    assert "old" not in repr(asked)


def test_without_another_token_the_refusal_stands(worker: Line, teller: ChildReporter) -> None:
    worker.send(None)  # the answer lies there before it is asked for
    assert ChildSecrets("old", teller).instead_of("old") is None


def test_while_one_thread_waits_for_a_token_another_shows_progress(worker: Line, teller: ChildReporter) -> None:
    given: list[str | None] = []
    asking = threading.Thread(target=lambda: given.append(teller.another_token("old")))
    asking.start()
    assert worker.poll(ENOUGH_S)
    assert isinstance(worker.recv(), TokenRefused)
    telling = threading.Thread(target=teller.progress, args=(7, "computing"), daemon=True)
    telling.start()
    telling.join(ENOUGH_S)
    assert not telling.is_alive(), "the app stands still"
    assert worker.poll(ENOUGH_S)
    assert worker.recv() == ProgressMessage(7, "computing")
    worker.send("new")
    asking.join(ENOUGH_S)
    assert given == ["new"]


def test_an_analysis_that_ends_leaves_no_answer_behind_for_the_next_task(
    ends: tuple[Line, Line], teller: ChildReporter
) -> None:
    worker, child = ends
    asking = threading.Thread(target=teller.another_token, args=("old",))
    asking.start()
    assert worker.poll(ENOUGH_S)
    ending = threading.Thread(target=end, args=[teller])
    ending.start()
    worker.send("new")
    worker.send("the next task")
    for each in (asking, ending):
        each.join(ENOUGH_S)
    assert child.recv() == "the next task"
