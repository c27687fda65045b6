"""Texts of others on a terminal: in the log, and in what `slidehook` prints."""

from __future__ import annotations

import unicodedata


def plain(text: str, *, keep: str = "") -> str:
    r"""Return a text as one line that moves, colours and hides nothing on a terminal.

    Control characters (C0, C1, line breaks among them), marks that turn the direction of writing, and all else that
    can't be printed are written as Python writes them: `\x1b`, `\u202e`. `keep`: those that may stay.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else _escaped(each) for each in text)


def plain_lines(text: str, indent: str) -> str:
    """Return a text of several lines, each plain and behind `indent`, so that none looks like a line of ours."""
    return "\n".join(indent + plain(line, keep="\t") for line in text.rstrip("\n").split("\n"))


def _escaped(character: str) -> str:
    return " " if unicodedata.category(character) == "Zs" else repr(character)[1:-1]
