"""Untrusted text on a terminal: in the log, and in what `slidehook` prints."""

from __future__ import annotations

import unicodedata


def plain(text: str, *, keep: str = "") -> str:
    r"""Return a text as one line that can't control a terminal.

    Control characters (C0, C1, including line breaks), marks of writing direction, and all other unprintable
    characters are written as Python escapes: `\x1b`, `\u202e`. `keep`: characters that are not escaped.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else _escaped(each) for each in text)


def plain_lines(text: str, indent: str) -> str:
    """Return a text of several lines, each escaped and prefixed by `indent`, so that none looks like a log line."""
    return "\n".join(indent + plain(line, keep="\t") for line in text.rstrip("\n").split("\n"))


def _escaped(character: str) -> str:
    return " " if unicodedata.category(character) == "Zs" else repr(character)[1:-1]
