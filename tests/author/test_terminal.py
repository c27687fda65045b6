from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slidehook.terminal import plain, plain_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a plain text, snö, 病理", "a plain text, snö, 病理"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31mred", r"\x9b31mred"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("over\rwritten\b\x7f", r"over\rwritten\x08\x7f"),
        ("one\nline\x85of\u2028four\u2029", r"one\nline\x85of\u2028four\u2029"),
        ("\u202egvs.enod\u202c", r"\u202egvs.enod\u202c"),
        ("\u2066isolated\u2069\u200f\u061c", r"\u2066isolated\u2069\u200f\u061c"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("half \ud800", r"half \ud800"),
        ("3\u00a0%\u202f", "3 % "),
        ("a\tb", r"a\tb"),
    ],
)
def test_what_would_command_a_terminal_is_written_out(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(st.text())
def test_a_plain_text_can_be_printed_and_stays_as_it_is(text: str) -> None:
    shown = plain(text)
    assert shown.isprintable()
    assert plain(shown) == shown


def test_some_characters_may_be_kept() -> None:
    assert plain("a\tb\n\x1b", keep="\t\n") == "a\tb\n\\x1b"


def test_lines_of_others_do_not_look_like_lines_of_ours() -> None:
    assert plain_lines("Traceback\n  File\x1b\n2026-01-01 [info] forged\r\n", "    ") == (
        "    Traceback\n      File\\x1b\n    2026-01-01 [info] forged\\r"
    )
