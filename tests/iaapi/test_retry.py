from __future__ import annotations

import math
import time
from collections.abc import Callable
from email.utils import formatdate

import pytest

from slidehook.dpat.errors import Conflict, DpatUnavailable, NotFound
from slidehook.dpat.iaapi.retry import BACKOFF, MAX_RETRY_AFTER_S, RetryPolicy, parse_retry_after

NOON = "Tue, 05 Mar 2024 12:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("7", None, 7),
        (" 120 ", None, 120),
        ("0", None, 0),
        ("9" * 400, None, 999_999_999),
        ("Tue, 05 Mar 2024 12:00:30 GMT", NOON, 30),
        ("Tue, 05 Mar 2024 11:59:00 GMT", NOON, 0),
        ("Tuesday, 05-Mar-24 12:01:00 GMT", NOON, 60),
        ("Tue Mar  5 12:01:00 2024", NOON, 60),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_servers_own_clock(
    value: str, date: str | None, seconds: float
) -> None:
    assert parse_retry_after(value, date) == seconds


def test_a_date_is_compared_with_our_clock_if_the_answer_has_no_date() -> None:
    assert 55 < parse_retry_after(formatdate(time.time() + 60, usegmt=True)) <= 60


@pytest.mark.parametrize(
    "value", [None, "", "soon", "-5", "1.5", "1e9", "\u0663", "31 Feb 2024", "Tue, 05 Mar 99999999999"]
)
def test_an_unreadable_retry_after_is_ignored(value: str | None) -> None:
    assert parse_retry_after(value, NOON) == 0


class Server:
    """Fails a given number of times, then answers; `waits` are its caller's delays."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.waits: list[float] = []

    def patience(self, tries: int, within_s: float = math.inf) -> RetryPolicy:
        return RetryPolicy.for_s(within_s, tries, self.waits.append)

    def answer(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "fine"


def away(retry_after_s: float = 0.0) -> DpatUnavailable:
    error = DpatUnavailable("away")
    error.retry_after_s = retry_after_s
    return error


def test_an_unavailable_server_is_retried_with_growing_delays() -> None:
    server = Server(away(), away(), away())
    assert server.patience(4).call(server.answer) == "fine"
    bounds = [(0.1, 0.3), (0.2, 0.6), (0.4, 1.2)]
    assert all(low <= wait <= high for wait, (low, high) in zip(server.waits, bounds, strict=True))


def test_the_number_of_tries_is_limited_and_the_last_error_is_raised() -> None:
    last = away()
    server = Server(away(), last, away())
    with pytest.raises(DpatUnavailable) as caught:
        server.patience(2).call(server.answer)
    assert caught.value is last
    assert server.calls == 2


@pytest.mark.parametrize("error", [NotFound("gone"), Conflict("changed"), ValueError("ours")])
def test_a_permanent_error_is_raised_at_once(error: Exception) -> None:
    server = Server(error)
    with pytest.raises(type(error)):
        server.patience(5).call(server.answer)
    assert server.calls == 1


def test_retry_after_delays_the_next_try() -> None:
    server = Server(away(7.0))
    assert server.patience(2).call(server.answer) == "fine"
    (wait,) = server.waits
    assert 7.0 < wait < 8.0


def test_a_long_retry_after_is_not_waited_for() -> None:
    server = Server(away(MAX_RETRY_AFTER_S + 1))
    with pytest.raises(DpatUnavailable):
        server.patience(5).call(server.answer)
    assert (server.calls, server.waits) == (1, [])


@pytest.mark.parametrize("asked_s", [0.0, 3.0, 19.0])
def test_no_delay_exceeds_the_deadline(asked_s: float) -> None:
    server = Server(away(asked_s))
    with pytest.raises(DpatUnavailable):
        server.patience(5, within_s=0.05).call(server.answer)
    assert server.waits == []


def test_a_wait_can_be_interrupted() -> None:
    def leave(_: float) -> None:
        raise KeyboardInterrupt

    server = Server(away())
    with pytest.raises(KeyboardInterrupt):
        RetryPolicy(3, sleep=leave).call(server.answer)
    assert server.calls == 1


@pytest.mark.parametrize(
    ("within_s", "most_s"), [(BACKOFF.most_s / 4, BACKOFF.most_s / 4), (math.inf, BACKOFF.most_s * 1.5)]
)
def test_a_wait_between_two_conflicts_ends_at_the_deadline(within_s: float, most_s: float) -> None:
    server = Server()
    server.patience(1, within_s).wait(50)
    assert 0 < server.waits[0] <= most_s


def test_the_remaining_time_is_never_negative() -> None:
    assert RetryPolicy(until=time.monotonic() - 5).left_s == 0
    assert RetryPolicy().left_s == math.inf


def test_arguments_are_passed_on() -> None:
    add: Callable[..., int] = lambda a, *, b: a + b  # noqa: E731
    assert RetryPolicy().call(add, 1, b=2) == 3
