"""The IA-API's versions, compared as numbers: 1.10 is newer than 1.9."""

from __future__ import annotations

import re

API_VERSION = "1.10"
"""The newest IA-API that slidehook supports (DPAT 4.2)."""
OLDEST_VERSION = "1.5"
"""The oldest known IA-API (DPAT 3.0), used with a server until it states its version."""
VERSION_HEADER = "X-Sectra-ApiVersion"
SOFTWARE_HEADER = "X-Sectra-SoftwareVersion"
_VERSION = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})*")


def as_numbers(text: str) -> tuple[int, ...] | None:
    """Parse `1.10` as (1, 10); None for anything else."""
    return tuple(int(part) for part in text.split(".")) if _VERSION.fullmatch(text) else None


def lower_version(ours: str, theirs: str | None) -> str:
    """Return the lower of two versions; `ours` when `theirs` is missing or unreadable."""
    our_numbers, their_numbers = as_numbers(ours), as_numbers((theirs or "").strip())
    if our_numbers is None or their_numbers is None or our_numbers <= their_numbers:
        return ours
    return (theirs or "").strip()


def is_version(text: str | None) -> bool:
    """Whether `text` is a readable version."""
    return as_numbers((text or "").strip()) is not None
