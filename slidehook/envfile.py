"""The file `.env`: read strictly, so that no setting in it is silently lost or changed."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from slidehook.errors import SettingsInvalid

_COMMENT = re.compile(r"\s#")
_ESCAPE = {"'": re.compile(r"\\\\"), '"': re.compile(r"\\[^\"]")}
"""Characters whose meaning changes between these quotes, except the quote itself behind a backslash."""
_OTHERWISE = {"'": "set it in the environment", '"': "put the value into single quotes"}
_NAMED = re.compile(rb"\s*(?:export\s+)?(SLIDEHOOK_\w+)", re.IGNORECASE)


@dataclass(frozen=True)
class Entry:
    """One setting in `.env`, its name in capitals. `where` names the file and the line.

    `altered`: why the value may differ from the text in the file; empty if it does not.
    """

    name: str
    value: str
    where: str
    altered: str = ""


def read_env_file(path: Path) -> list[Entry]:
    """Read `path`; empty if there is no such file. Raises SettingsInvalid with one sentence.

    The sentence contains no value, because it may be a password. `$NAME` and `${NAME}` are not expanded.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SettingsInvalid(
            f"the settings file {path} can't be read ({error.strerror}): let the user that starts slidehook read it, "
            f"for example with chown or chmod, or set SLIDEHOOK_… in the environment"
        ) from error
    text = _decoded(content, path)
    return [_entry(each, path) for each in parse_stream(io.StringIO(text)) if each.key is not None or each.error]


def _decoded(content: bytes, path: Path) -> str:
    """Return the text, without a byte order mark."""
    if b"\0" in content or content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SettingsInvalid(f"the settings file {path} is UTF-16 or not text: save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before, _, line = content[: error.start].rpartition(b"\n")
        number = before.count(b"\n") + 2 if b"\n" in content[: error.start] else 1
        named = _NAMED.match(line)
        what = f"the value of {named[1].decode().upper()}" if named else "it"
        raise SettingsInvalid(
            f"the settings file {path}, line {number}: {what} is not UTF-8, perhaps Latin-1: save the file as UTF-8"
        ) from error


def _entry(binding: Binding, path: Path) -> Entry:
    raw = binding.original.string.lstrip()
    blank = binding.original.string[: len(binding.original.string) - len(raw)]
    where = f"{path}, line {binding.original.line + blank.count(chr(10))}"
    if binding.error or binding.key is None or binding.value is None:
        named = _NAMED.match(raw.encode())
        what = named[1].decode().upper() if named else "this"
        raise SettingsInvalid(
            f"the settings file {where}: {what} is not set as NAME=VALUE, as in SLIDEHOOK_PORT=5006; "
            "perhaps the second quote is missing"
        )
    return Entry(binding.key.upper(), binding.value, where, _altered(raw.partition("=")[2].rstrip()))


def _altered(raw: str) -> str:
    """Return why a value, as written after the equals sign, would be changed; empty if it would not."""
    quote = raw.lstrip()[:1]
    if quote not in _ESCAPE:
        # A # at the very beginning is kept.
        return "a # behind a space begins a comment; put the value into single quotes" if _COMMENT.search(raw) else ""
    inner = raw[raw.index(quote) + 1 : raw.rindex(quote)]
    if not _ESCAPE[quote].search(inner):
        return ""
    return f"a backslash in quotes changes what follows it; {_OTHERWISE[quote]}"
