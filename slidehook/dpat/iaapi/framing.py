"""Whether an answer's body can be proven complete: it is not encoded, and its length is stated."""

from __future__ import annotations

import re
from collections.abc import Mapping

from requests import Response

from slidehook.dpat.errors import Malformed

_PLAIN = frozenset({"", "identity", "7bit", "8bit", "binary", "utf-8"})
"""Codings that change no byte. Some servers list `utf-8` here by mistake: it is a character set."""
_CASE = re.compile(r"/requests/[^/]*/")
"""The start of a URL path of a case's records, which contains the accession number."""
_PART_CODINGS = frozenset({"content-encoding", "content-transfer-encoding"})


def is_encoded(headers: Mapping[str, str], *, is_part: bool = False) -> bool:
    """Whether a body is compressed or encoded, so that its length does not prove it complete.

    `headers`: those of an answer, or, with `is_part`, those of a multipart part with lower-case names.
    """
    names = _PART_CODINGS if is_part else {"content-encoding"}
    plain_framing = _PLAIN if is_part else _PLAIN | {"chunked"}
    codings = {each for name in names for each in _tokens(headers.get(name))}
    return bool(codings - _PLAIN or _tokens(headers.get("transfer-encoding")) - plain_framing)


def _tokens(value: str | None) -> set[str]:
    return {each.strip().lower() for each in (value or "").split(",")}


def content_length(value: str | None) -> int | None:
    """Parse a Content-Length; equal duplicates are accepted. None when it is missing or unreadable."""
    values = _tokens(value)
    only = values.pop() if len(values) == 1 else ""
    return int(only) if only.isascii() and only.isdigit() else None


def require_known_length(response: Response) -> None:
    """Raise Malformed when a truncated body would look complete: its end is marked only by the connection's end."""
    framing = _tokens(response.headers.get("Transfer-Encoding"))
    if "chunked" not in framing and content_length(response.headers.get("Content-Length")) is None:
        raise Malformed(f"DPAT sent no length for its answer to {describe_call(response)}, so it may be truncated")


def describe_call(response: Response) -> str:
    """Return method and path of the call, without server, query and accession number: fit for logs.

    The ids of slides and results stay, percent-encoded.
    """
    path = (response.request.path_url or "").partition("?")[0]
    path = path.partition("/imageanalysis/v1")[2] or path
    return f"{response.request.method} {_CASE.sub('/requests/…/', path)}"
