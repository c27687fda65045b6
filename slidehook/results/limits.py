"""How large a result may be: as it is sent to DPAT, and as DPAT returns it when a user changes or deletes it.

Every result that was sent must be accepted when it returns, so the second limit follows from the first: DPAT may
format the same result with line breaks, indents and 17 digits, and add fields.
"""

from __future__ import annotations

MIB = 1024 * 1024
POINT_BYTES, SHAPE_BYTES, PATCH_BYTES = 64, 128, 160
"""The most bytes of a corner, of the rest of a shape, and of a patch in the JSON that is sent."""
REST_BYTES = MIB
"""The most bytes of all texts, labels, tables and the context of a result together."""
CONTEXT_BYTES = 64 * 1024
"""The largest context of a request; it becomes a part of the result."""
PRETTY = 4
"""The factor by which a result may grow on its way back: a corner with 4-space indents takes 233 bytes."""
PLAIN_BODY_BYTES = MIB
"""The largest body without a result, and the most that DPAT may add to a result."""
MOST_BODY_BYTES = 64 * MIB
"""The largest body that is ever read, whatever an app declares."""


def most_record_bytes(*, max_polygons: int, max_points: int, max_patches: int) -> int:
    """Return the most bytes of JSON that a result with these limits may take when it is sent."""
    shapes = max_points * POINT_BYTES + min(max_polygons, max_points) * SHAPE_BYTES
    return shapes + max_patches * PATCH_BYTES + REST_BYTES


def most_body_bytes(record_bytes: int) -> int:
    """Return the most bytes of a request with a result of `record_bytes`; a whole number of MiB."""
    whole = PLAIN_BODY_BYTES + PRETTY * record_bytes
    return -(-whole // MIB) * MIB
