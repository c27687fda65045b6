from __future__ import annotations

import pytest

from slidehook.dpat.iaapi.versions import as_numbers, lower_version


@pytest.mark.parametrize(
    ("ours", "theirs", "lower_one"),
    [
        ("1.10", "1.9", "1.9"),
        ("1.9", "1.10", "1.9"),
        ("1.10", "1.10", "1.10"),
        ("1.10", "2.0", "1.10"),
        ("2.0", "1.10", "1.10"),
        ("1.10", "1.10.1", "1.10"),
        ("1.10", " 1.5 ", "1.5"),
    ],
)
def test_versions_are_compared_as_numbers(ours: str, theirs: str, lower_one: str) -> None:
    assert lower_version(ours, theirs) == lower_one


@pytest.mark.parametrize("theirs", [None, "", "new", "1.", ".9", "1.x", "-1", "1.9\nX-Evil: 1", "1" * 500])
def test_an_unreadable_version_is_ignored(theirs: str | None) -> None:
    assert lower_version("1.10", theirs) == "1.10"


def test_a_version_is_parsed_as_numbers() -> None:
    assert as_numbers("1.10") == (1, 10)
    assert as_numbers("3") == (3,)
    assert as_numbers("1.10 ") is None


@pytest.mark.parametrize("odd", ["\u0661.\u0661\u0660", "1.\u00b2", "\uff11.10"])
def test_non_ascii_digits_are_not_a_version(odd: str) -> None:
    assert as_numbers(odd) is None
