from __future__ import annotations

import pytest

from slidehook.simulator.errors import Unauthorized
from slidehook.simulator.tokens import Tokens


def test_a_token_is_valid_for_its_lifetime() -> None:
    now = [100.0]
    tokens = Tokens(60, clock=lambda: now[0])
    header = f"Bearer {tokens.issue()}"
    now[0] = 159.9
    tokens.check(header)
    now[0] = 160.0
    with pytest.raises(Unauthorized, match="expired"):
        tokens.check(header)


def test_a_token_for_an_app_and_a_slide_is_valid_only_for_them() -> None:
    tokens = Tokens(60)
    header = f"Bearer {tokens.issue('app', 'S-1')}"
    tokens.check(header, "app", "S-1")
    tokens.check(header, "S-1")
    for about in (["app", "S-2"], ["other", "S-1"]):
        with pytest.raises(Unauthorized, match="another app or slide"):
            tokens.check(header, *about)
    tokens.check(f"Bearer {tokens.issue()}", "other", "S-2")


def test_tokens_issued_after_an_expiry_are_valid() -> None:
    tokens = Tokens(60)
    old = tokens.issue()
    assert tokens.expire_all() == 1
    tokens.check(f"bearer {tokens.issue()}")
    with pytest.raises(Unauthorized):
        tokens.check(f"Bearer {old}")
