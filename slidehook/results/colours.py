"""The colours of results, where DPAT states none."""

from __future__ import annotations

PALETTE = ("#D13438", "#0078D4", "#107C10", "#FF8C00", "#881798", "#00B7C3", "#986F0B", "#E3008C")
"""The colours of a gallery's tags, in the tags' order. The first tag is usually "positive", and is red."""


def tag_colour(index: int) -> str:
    """Return the colour of a gallery's tag by its index, as `#RRGGBB`."""
    return PALETTE[index % len(PALETTE)]
