"""The IA-API's versions, compared as numbers: 1.10 is newer than 1.9."""

from __future__ import annotations

import re
from importlib.metadata import version

API_VERSION = "1.10"
"""The newest IA-API that slidehook speaks (DPAT 4.2)."""
FIRST_VERSION = "1.5"
"""What a server is told that has not said yet which version it speaks: the oldest that is known (DPAT 3.0)."""
SOFTWARE_VERSION = version("slidehook")
VERSION_HEADER = "X-Sectra-ApiVersion"
SOFTWARE_HEADER = "X-Sectra-SoftwareVersion"
_VERSION = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})*")


def as_numbers(text: str) -> tuple[int, ...] | None:
    """Read `1.10` as (1, 10); None for anything else."""
    return tuple(int(part) for part in text.split(".")) if _VERSION.fullmatch(text) else None


def lower(ours: str, theirs: str | None) -> str:
    """Give the lower of two versions; `ours` when the other side names none that can be read."""
    mine, other = as_numbers(ours), as_numbers((theirs or "").strip())
    return ours if mine is None or other is None or mine <= other else (theirs or "").strip()


def is_version(text: str | None) -> bool:
    """Say whether this is a version that can be read."""
    return as_numbers((text or "").strip()) is not None
