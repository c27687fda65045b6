"""Cuts a result to its app's limits."""

from __future__ import annotations

from slidehook.app import App
from slidehook.result import Result
from slidehook.results import kinds


def within_limits(app: App | type[App], result: Result, *, mpp: float | None = None) -> Result:
    """Return as much of a result as the app's `max_polygons`, `max_points` and `max_patches` allow.

    Rows of the table state what was left out. `mpp`: µm per level-0 pixel, None if it is not certain.
    """
    for kind in kinds.KINDS:
        result = kind.cut(result, app, mpp=mpp)
    return result
