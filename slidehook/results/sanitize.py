"""Cleans an app's result: a copy that is made of slidehook's own classes, `str` and Python's numbers only."""

from __future__ import annotations

from slidehook.errors import AppError
from slidehook.result import Result
from slidehook.results import kinds
from slidehook.results.checks import copied

MAX_SENTENCE = 500
"""The most characters of an app's own words in a message."""


def sanitize_result(result: Result) -> Result:
    """Copy an app's result; raises AppError that names the first field that can't be sent to DPAT.

    NumPy's numbers become Python's, and True and False become "yes" and "no".
    """
    try:
        return copied(Result, result, "", **{kind.field: kind.clean(result) for kind in kinds.KINDS})
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise AppError(f"the app's result can't be sent to DPAT: {error}") from error


def in_words(error: BaseException) -> str:
    """Return an error's message, clipped; an author's own class may fail even at that."""
    try:
        return clipped(str(error))
    except Exception:
        # An author's class may raise anything.
        return "it can't say what it is"


def clipped(words: str) -> str:
    """Return the first `MAX_SENTENCE` characters."""
    return words[:MAX_SENTENCE] + ("…" if len(words) > MAX_SENTENCE else "")
