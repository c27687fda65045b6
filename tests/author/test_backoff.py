from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidehook.backoff import Backoff


@given(st.integers(1, 10**9), st.floats(0, 1))
def test_waits_double_up_to_a_limit_and_are_spread_by_half(failed: int, chance: float) -> None:
    middle = min(0.2 * 2.0 ** min(failed - 1, 100), 5.0)
    assert Backoff(0.2, 5.0).wait_s(failed, chance) == pytest.approx(middle * (0.5 + chance))


@given(st.integers(1, 10_000))
def test_a_drawn_wait_lies_within_the_spread(failed: int) -> None:
    exact = Backoff(0.5, 30.0, spread=False).wait_s(failed)
    assert 0.5 * exact <= Backoff(0.5, 30.0).wait_s(failed) <= 1.5 * exact


def test_drawn_waits_differ() -> None:
    assert len({Backoff(0.5, 30.0).wait_s(3) for _ in range(20)}) > 1


@pytest.mark.parametrize("failed", [0, -1])
def test_without_a_failure_there_is_no_wait(failed: int) -> None:
    assert Backoff(0.5, 30.0).wait_s(failed) == 0.0
