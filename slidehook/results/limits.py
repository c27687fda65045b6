"""How large a result may be: as it is sent to DPAT, and as it comes back when a user changes or deletes it.

What is sent must be taken back, so the second limit follows from the first: DPAT may write the same result with line
breaks, indents and 17 digits, and add fields of its own.
"""

from __future__ import annotations

MIB = 1024 * 1024
POINT_BYTES, SHAPE_BYTES, PATCH_BYTES = 64, 128, 160
"""What a corner, the rest of a shape, and a patch take at most in the JSON that is sent."""
REST_BYTES = MIB
"""What all texts, labels, tables and the context of a result may take beside that."""
CONTEXT_BYTES = 64 * 1024
"""The largest context of a request: it goes into the result."""
PRETTY = 4
"""How much larger the same result may come back: a corner with 4-space indents takes 233 bytes."""
PLAIN_BODY_BYTES = MIB
"""The largest body without a result in it, and what DPAT may add to one."""
MOST_BODY_BYTES = 64 * MIB
"""The largest body that is read, whatever an app declares."""


def most_record_bytes(*, max_polygons: int, max_points: int, max_patches: int) -> int:
    """Say how many bytes of JSON a result with these limits may take when it is sent."""
    shapes = max_points * POINT_BYTES + min(max_polygons, max_points) * SHAPE_BYTES
    return shapes + max_patches * PATCH_BYTES + REST_BYTES


def most_body_bytes(record_bytes: int) -> int:
    """Say how many bytes a request may have that brings back a result of so many; a whole number of MiB."""
    whole = PLAIN_BODY_BYTES + PRETTY * record_bytes
    return -(-whole // MIB) * MIB
