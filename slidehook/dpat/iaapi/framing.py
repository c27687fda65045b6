"""Whether an answer's bytes can be proven whole: they are sent as they are, and their end is told."""

from __future__ import annotations

import re
from collections.abc import Mapping

from requests import Response

from slidehook.errors import Malformed

_PLAIN = frozenset({"", "identity", "7bit", "8bit", "binary", "utf-8"})
"""Codings that change no byte. `utf-8` is a character set, which some servers name here by mistake."""
_CASE = re.compile(r"/requests/[^/]*/")
"""How the address of a case's records begins: it has the accession number in it."""
_PART_CODINGS = frozenset({"content-encoding", "content-transfer-encoding"})


def is_packed(headers: Mapping[str, str], *, is_part: bool = False) -> bool:
    """Say whether a body is compressed or encoded, so that its length does not prove it whole.

    `headers` are those of an answer, or of a part of it with names in lower case.
    """
    names = _PART_CODINGS if is_part else {"content-encoding"}
    plain_framing = _PLAIN if is_part else _PLAIN | {"chunked"}
    codings = {each for name in names for each in _tokens(headers.get(name))}
    return bool(codings - _PLAIN or _tokens(headers.get("transfer-encoding")) - plain_framing)


def _tokens(value: str | None) -> set[str]:
    return {each.strip().lower() for each in (value or "").split(",")}


def announced_bytes(value: str | None) -> int | None:
    """Read a Content-Length; one that was sent twice is read once, and None is none that can be read."""
    values = _tokens(value)
    only = values.pop() if len(values) == 1 else ""
    return int(only) if only.isascii() and only.isdigit() else None


def check_end_is_told(response: Response) -> None:
    """Raise Malformed where a body that was cut looks like a whole one: its end is the connection's."""
    framing = _tokens(response.headers.get("Transfer-Encoding"))
    if "chunked" not in framing and announced_bytes(response.headers.get("Content-Length")) is None:
        raise Malformed(f"DPAT does not say how long its answer to {call_of(response)} is, so it may have been cut")


def call_of(response: Response) -> str:
    """Name the call without its query, its server and a case's number: enough to find it, nothing that is secret.

    The ids of slides and results stay, as they are written in an address.
    """
    path = (response.request.path_url or "").partition("?")[0]
    path = path.partition("/imageanalysis/v1")[2] or path
    return f"{response.request.method} {_CASE.sub('/requests/…/', path)}"
